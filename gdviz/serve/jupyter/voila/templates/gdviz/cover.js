// The cover stays until the lab's own page stands behind it, or says that it never will. A page
// that was opened by a link stands there when it shows what the link says.
try {
  for (const name of ["theme", "look"]) { // before the first paint, as the toolbar would
    const kept = localStorage.getItem(`gd-${name}`);
    if (kept) document.documentElement.dataset[name === "theme" ? "gdTheme" : "gdLook"] = kept;
  }
} catch { /* a browser that keeps nothing */ }
window.voila_heartbeat = window.voila_finish = () => {};
new MutationObserver((_, observer) => {
  const failed = document.querySelector(".gd-failed");
  const ready = document.querySelector(`#gd-cells ${location.search ? ".gd-opened" : ".jupyter-widgets"}`);
  if (!failed && !ready) return;
  observer.disconnect();
  const cover = document.getElementById("gd-cover");
  if (failed) document.getElementById("gd-status").replaceWith(failed);
  else requestAnimationFrame(() => {
    cover.remove();
    document.getElementById("gd-cells").classList.remove("gd-waiting");
  });
}).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
