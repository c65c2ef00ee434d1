// The cover stays until the lab's own page stands behind it, or says that it never will. A page
// that was opened by a link stands there when it shows what the link says.
try {
  for (const name of ["theme", "look"]) { // before the first paint, as the toolbar would
    const kept = localStorage.getItem(`gd-${name}`);
    if (kept) document.documentElement.dataset[name === "theme" ? "gdTheme" : "gdLook"] = kept;
  }
} catch { /* a browser that keeps nothing */ }
window.voila_heartbeat = window.voila_finish = () => {};
{
  const PATIENCE = 20_000; // ms for a link, once there is a page: its run may be a long one
  let late;
  const observer = new MutationObserver(() => {
    const failed = document.querySelector(".gd-failed");
    const alive = document.querySelector("#gd-cells .jupyter-widgets");
    const ready = location.search ? document.querySelector("#gd-cells .gd-opened") : alive;
    if (alive) late ??= setTimeout(lift, PATIENCE);
    if (failed || ready) lift(failed);
  });
  const lift = (failed) => {
    observer.disconnect();
    clearTimeout(late);
    if (failed) document.getElementById("gd-status").replaceWith(failed);
    else requestAnimationFrame(() => {
      document.getElementById("gd-cover").remove();
      document.getElementById("gd-cells").classList.remove("gd-waiting");
    });
  };
  observer.observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
}
