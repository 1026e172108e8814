BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('1');
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
INSERT INTO "jobs" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','2026-11-28T00:53:17.206780+00:00','blood',2);
CREATE TABLE trail (
	number INTEGER NOT NULL, 
	at VARCHAR(40) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	what TEXT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "trail" VALUES(1,'2026-11-28T00:53:17.249923+00:00','job','{"bundle": "blood", "images": "2c5a757af655400d3c30ba6f2aec54334006e4b784e2bcc79b99452abfc66ec9", "job": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}','0800bf50c736e59bf5dd0cacb337e64186a6024b329bbafc4791160162b09d99');
INSERT INTO "trail" VALUES(2,'2026-11-28T00:53:17.393792+00:00','override','{"from": "ig", "to": "neutrophil"}','7e52935a5764efb92e9ec08bdd17908100af3f432d3486ceb23fa356f1b30758');
CREATE TABLE trail_end (
	id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "trail_end" VALUES(1,2,'7e52935a5764efb92e9ec08bdd17908100af3f432d3486ceb23fa356f1b30758');
COMMIT;
