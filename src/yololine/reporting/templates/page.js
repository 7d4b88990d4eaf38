// Comfort only: without it, one click selects a command and links jump as they do anywhere.
document.querySelectorAll("[data-copy]").forEach(function (button) {
  button.hidden = false;
  button.addEventListener("click", function () {
    var code = button.parentNode.querySelector("code");
    var selection = getSelection();
    selection.selectAllChildren(code);
    var copied = false;
    try { copied = document.execCommand("copy"); } catch (refused) { copied = false; }
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(function () { button.textContent = "Copy"; }, 2000);
  });
});
// Inside the iframe of the pipelines UI a fragment would be looked up in the outer page's address.
document.querySelectorAll('a[href^="#"]').forEach(function (link) {
  link.addEventListener("click", function (event) {
    var target = document.getElementById(link.getAttribute("href").slice(1));
    if (target) { event.preventDefault(); target.scrollIntoView(); target.focus({ preventScroll: true }); }
  });
});
