// The cover stays until the lab's own page stands behind it, or says that it never will.
window.voila_heartbeat = window.voila_finish = () => {};
new MutationObserver((_, observer) => {
  const failed = document.querySelector(".gd-failed");
  const ready = document.querySelector("#gd-cells .jupyter-widgets");
  if (!failed && !ready) return;
  observer.disconnect();
  const cover = document.getElementById("gd-cover");
  if (failed) document.getElementById("gd-status").replaceWith(failed);
  else requestAnimationFrame(() => {
    cover.remove();
    document.getElementById("gd-cells").classList.remove("gd-waiting");
  });
}).observe(document.documentElement, { childList: true, subtree: true });
