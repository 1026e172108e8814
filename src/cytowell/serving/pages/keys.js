// Keys of the review page: 1 to 9 choose, Enter confirms, U says that nobody can decide, arrows move.
document.addEventListener("keydown", (event) => {
  const keys = document.querySelector("#review-keys");
  if (!keys || keys.offsetParent === null) return;
  if (!document.querySelector("#review-keys-on input")?.checked) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const on = event.target;
  if (on.closest("textarea, select, [contenteditable], input:not([type=radio]), [role=tab], svg")) return;
  const press = (id) => document.querySelector(id)?.click();
  if (/^[1-9]$/.test(event.key)) {
    const choice = document.querySelectorAll("#review-label input[type=radio]")[Number(event.key) - 1];
    if (choice) { choice.click(); choice.focus(); }
  } else if (event.key === "Enter") {
    if (on.closest("button")) return;
    press("#review-save");
  } else if (event.key.toLowerCase() === "u") press("#review-cannot");
  else if (event.key === "ArrowLeft") press("#review-back");
  else if (event.key === "ArrowRight") press("#review-skip");
  else return;
  event.preventDefault();
}, true);
// What changes is read out: the live parts of the page say so to screen readers.
const speak = () => document.querySelectorAll(".live").forEach((part) => part.setAttribute("aria-live", "polite"));
new MutationObserver(speak).observe(document.documentElement, { childList: true, subtree: true });
