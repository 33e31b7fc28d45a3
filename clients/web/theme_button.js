/** The switch between the system's theme, light and dark. The choice is kept, and set by theme.js on the next visit. */

import { icon } from "./dom.js";
import { ofDevice } from "./storage.js";

const NAME = "streamlane-theme";
/** @type {["auto", "light", "dark"]} */
const THEMES = ["auto", "light", "dark"];
const WORDS = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

/** @param {HTMLElement} button */
export function themeButton(button) {
  const kept = ofDevice.get(NAME);
  let theme = THEMES.find((name) => name === kept) ?? "auto";
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(theme));
    button.setAttribute("aria-label", WORDS[theme]);
    button.title = WORDS[theme];
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    ofDevice.set(NAME, theme);
    show();
  });
  show();
}
