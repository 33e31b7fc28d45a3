/* Sets the theme before anything is painted; loaded as a classic script, so that no wrong one flashes up. */
(() => {
  try {
    const theme = localStorage.getItem("streamlane-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is blocked: as the system has it.
  }
})();
