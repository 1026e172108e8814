BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('2');
CREATE TABLE calls (
	sitting VARCHAR(32) NOT NULL, 
	position INTEGER NOT NULL, 
	file TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	"row" TEXT NOT NULL, 
	PRIMARY KEY (sitting, position), 
	FOREIGN KEY(sitting) REFERENCES sittings (id) ON DELETE CASCADE
);
INSERT INTO "calls" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4',0,'/old/a.png','','{"path": "a.png", "label": "", "probability": null, "decided": "false", "reason": "not named yet", "error": "", "p_x": null, "p_y": null}');
INSERT INTO "calls" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4',1,'/old/b.png','','{"path": "b.png", "label": "", "probability": null, "decided": "false", "reason": "not named yet", "error": "", "p_x": null, "p_y": null}');
INSERT INTO "calls" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4',3,'/old/c.png','','{"path": "c.png", "label": "", "probability": null, "decided": "false", "reason": "not named yet", "error": "", "p_x": null, "p_y": null}');
CREATE TABLE images (
	job VARCHAR(32) NOT NULL, 
	position INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	answer TEXT, 
	PRIMARY KEY (job, position), 
	FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "images" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',0,'a.png','0000000000000000000000000000000000000000000000000000000000000000','{"path": "a.png", "label": "x"}');
INSERT INTO "images" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1,'b.png','1111111111111111111111111111111111111111111111111111111111111111',NULL);
CREATE TABLE jobs (
	id VARCHAR(32) NOT NULL, 
	created VARCHAR(40) NOT NULL, 
	bundle VARCHAR(255) NOT NULL, 
	total INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2026-11-28T00:53:06.355053+00:00','blood',2);
CREATE TABLE overrides (
	sitting VARCHAR(32) NOT NULL, 
	position INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	at VARCHAR(40) NOT NULL, 
	label VARCHAR(255) NOT NULL, 
	who VARCHAR(255) NOT NULL, 
	why TEXT NOT NULL, 
	PRIMARY KEY (sitting, position, number), 
	FOREIGN KEY(sitting) REFERENCES sittings (id) ON DELETE CASCADE
);
INSERT INTO "overrides" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4',0,1,'2026-11-28T00:53:06.814703+00:00','x','Dr A','smudged');
INSERT INTO "overrides" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4',0,2,'2026-11-28T00:53:06.886673+00:00','y','Dr B','');
INSERT INTO "overrides" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4',1,1,'2026-11-28T00:53:06.922678+00:00','','Dr A','');
CREATE TABLE sittings (
	id VARCHAR(32) NOT NULL, 
	created VARCHAR(40) NOT NULL, 
	touched VARCHAR(40) NOT NULL, 
	title VARCHAR(255) NOT NULL, 
	bundle VARCHAR(255) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	classes TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "sittings" VALUES('c0b8180b5eca4f0fa60f573bddc0e2a4','2026-11-28T00:53:06.558141+00:00','2026-11-28T00:53:06.961187+00:00','old plate','blood','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','["x", "y"]');
CREATE TABLE trail (
	number INTEGER NOT NULL, 
	at VARCHAR(40) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	what TEXT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "trail" VALUES(1,'2026-11-28T00:53:06.418251+00:00','job','{"bundle": "blood", "images": "2c5a757af655400d3c30ba6f2aec54334006e4b784e2bcc79b99452abfc66ec9", "job": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}','6287d0ef38e5b6287c7037d0643e990948e512c78cb4b32c388e4db57b07a41e');
INSERT INTO "trail" VALUES(2,'2026-11-28T00:53:06.779839+00:00','calls','{"calls": "c736b27c0fd49f023a994cb759766806e3533ea734d2a374cefb8390f54fb2e7", "count": 3, "first": 0, "sitting": "c0b8180b5eca4f0fa60f573bddc0e2a4"}','b474880788a510b3832de39e255d5200107406bca08a350627c0946470b5ca47');
INSERT INTO "trail" VALUES(3,'2026-11-28T00:53:06.852189+00:00','said','{"digest": "b8d4e85fcdcfd22413074922b4152ba3b53705f597da44cd38f2b4efe68b9f82", "number": 1, "position": 0, "sitting": "c0b8180b5eca4f0fa60f573bddc0e2a4"}','0a7264a51ea26df8f9e6a123163e6c4826c4d8c5d3e8fee5a57191736e89150d');
INSERT INTO "trail" VALUES(4,'2026-11-28T00:53:06.888573+00:00','said','{"digest": "55c8eaf978f75102ac0a638780be4ad075c7c58e7900acca489fea6fdad90155", "number": 2, "position": 0, "sitting": "c0b8180b5eca4f0fa60f573bddc0e2a4"}','90f3de20ac8568eb69e889e7ec7f97274b6382b9aec52c6f79b52ee3bab107a4');
INSERT INTO "trail" VALUES(5,'2026-11-28T00:53:06.924660+00:00','said','{"digest": "44646d2765c932adf345583151db86786ecb5b469ee3c12b2530676174d8450f", "number": 1, "position": 1, "sitting": "c0b8180b5eca4f0fa60f573bddc0e2a4"}','81be49fb276aee976b8d40be01806743f1c5dd9e43c770b0790ea3df9272435c');
INSERT INTO "trail" VALUES(6,'2026-11-28T00:53:07.005257+00:00','boxes','{"calls": "26190e65ba23cb3683da67dac4f2099d57582f87746c5fd6e3c883bdb1dc9f71", "count": 1, "first": 3, "sitting": "c0b8180b5eca4f0fa60f573bddc0e2a4", "without": [2]}','f0dd8726de3bf40799678a878cbd77bc4b3ac901446941e12a24b240a3fbfbce');
INSERT INTO "trail" VALUES(7,'2026-11-28T00:53:07.045521+00:00','bundle','{"digest": "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"}','285d48c6b612ebea5b6227c08a2474284f79146393698ca7d0ccc9da563f206a');
CREATE TABLE trail_end (
	id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "trail_end" VALUES(1,7,'285d48c6b612ebea5b6227c08a2474284f79146393698ca7d0ccc9da563f206a');
COMMIT;
