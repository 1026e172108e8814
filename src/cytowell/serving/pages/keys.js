// The review: 1 to 9 choose, Enter confirms, U says that nobody can decide, arrows move.
// A choice belongs to the card on which it was made. From the moment that something is sent until the
// next card is shown, nothing is taken: a key is applied to the card that is seen, or visibly refused.
window.cytowellReview = (() => {
  const GIVE_UP = 30000; // milliseconds after which the server is not waited for any more
  const DRAWN = 30; // milliseconds between two looks whether what has arrived is drawn
  const LOOKS = 200; // such looks, at most
  let pending = 0;
  let doubt = false; // something was pressed that could not be taken: Enter alone confirms nothing
  let last = ""; // the card that is drawn
  let asked = ""; // the card that was drawn when something was sent
  let unsent = false; // whether a choice was made on the card that is drawn, and not sent
  let timer = 0;
  const find = (selector) => document.querySelector(selector);
  const card = () => find("#review-card [data-card]");
  const token = () => card()?.dataset.card ?? "";
  const chosen = () => find("#review-label input:checked");
  const label = () => chosen()?.value ?? (doubt ? "" : card()?.dataset.suggested ?? "");
  const tell = (word, refused) => {
    const notice = find("#review-notice");
    if (!notice) return;
    const text = word ? card().dataset[word] : "";
    if (notice.textContent !== text) notice.textContent = text;
    notice.classList.toggle("refused", Boolean(refused));
    if (refused) { notice.getAnimations?.().forEach((a) => a.cancel()); notice.animate?.([{ opacity: 0.2 }, { opacity: 1 }], 250); }
  };
  const show = () => {
    const locked = pending > 0;
    for (const part of [find("#review-card"), find("#review-keys")]) {
      if (!part) continue;
      if (part.classList.contains("review-waits") !== locked) part.classList.toggle("review-waits", locked);
      if (part.getAttribute("aria-busy") !== String(locked)) part.setAttribute("aria-busy", String(locked));
    }
    for (const field of document.querySelectorAll("#review-label, #review-reason")) {
      if (field.disabled !== locked) field.disabled = locked;
    }
    const signs = find("#review-signs");
    if (signs && signs.textContent !== (label() || "–")) signs.textContent = label() || "–";
  };
  const refuse = (word) => { doubt = true; tell(word, true); show(); };
  const lock = (given = []) => {
    if (pending === 0) asked = token();
    pending += 1;
    unsent = false;
    clearTimeout(timer);
    timer = setTimeout(() => { pending = 0; show(); }, GIVE_UP);
    tell("wait");
    show();
    return given;
  };
  // A card that has arrived is drawn a little later: until then it is the one before that is seen.
  const unlock = (arrived, looks = LOOKS) => {
    setTimeout(() => {
      if (arrived && token() && token() === asked && looks > 0) { unlock(arrived, looks - 1); return; }
      pending = Math.max(0, pending - 1);
      if (pending === 0) { clearTimeout(timer); tell(doubt ? "again" : "", doubt); }
      show();
    }, DRAWN);
    return [];
  };
  // Whether a button may be pressed now.
  const takes = (id) => {
    if (pending > 0) { refuse("wait"); return false; }
    if (!card()) return id === "review-back" || id === "review-skip";
    if (id === "review-save" && !label()) { refuse(doubt ? "again" : "nothing"); return false; }
    return true;
  };
  const press = (id) => find(`#${id}`)?.click();
  const choose = (place) => {
    if (pending > 0) { refuse("wait"); return; }
    const choice = document.querySelectorAll("#review-label input[type=radio]")[place];
    if (!choice) { refuse("missing"); return; }
    choice.click();
    choice.focus();
  };
  // The word that is sent names the card on which it was said.
  const word = (given, nobody) => {
    const said = { card: token(), label: nobody ? "" : label(), nobody, why: find("#review-reason")?.value ?? "" };
    return [...given.slice(0, -1), JSON.stringify(said)];
  };
  document.addEventListener("change", (event) => {
    if (!event.target.closest("#review-label")) return;
    doubt = false;
    unsent = true;
    tell("");
    show();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#review-keys button");
    if (!button) return;
    if (takes(button.id)) { doubt = false; lock(); return; }
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  document.addEventListener("keydown", (event) => {
    const keys = find("#review-keys");
    if (!keys || keys.offsetParent === null) return;
    const on = event.target;
    const ours = !on.closest("textarea, select, [contenteditable], input:not([type=radio]), [role=tab], svg");
    if (event.repeat && event.key === "Enter" && ours) { event.preventDefault(); event.stopImmediatePropagation(); return; }
    if (!find("#review-keys-on input")?.checked) return;
    if (event.ctrlKey || event.metaKey || event.altKey || !ours) return;
    const low = event.key.toLowerCase();
    if (!/^[1-9]$/.test(low) && !["enter", "u", "arrowleft", "arrowright"].includes(low)) return;
    if (low === "enter" && on.closest("button, a")) return;
    event.preventDefault();
    if (event.repeat) return; // a key that is held was pressed once
    if (low === "enter") press("review-save");
    else if (low === "u") press("review-cannot");
    else if (low === "arrowleft") press("review-back");
    else if (low === "arrowright") press("review-skip");
    else choose(Number(low) - 1);
  }, true);
  // What changes is read out: the live parts of the page say so to screen readers.
  const speak = () => document.querySelectorAll(".live:not([aria-live])").forEach((part) => part.setAttribute("aria-live", "polite"));
  new MutationObserver(() => {
    speak();
    const now = token();
    if (now === last) return;
    last = now;
    doubt = doubt || unsent; // it was made on a card that has gone
    unsent = false;
    // The toolkit changes what is drawn in place: a mark that was set would stay for the next card.
    for (const choice of document.querySelectorAll("#review-label input")) choice.checked = false;
    if (find("#review-reason")) find("#review-reason").value = "";
    if (pending > 0) tell("wait");
    else if (doubt) tell("again", true);
    show();
  }).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-card"] });
  return { lock, unlock, word };
})();
