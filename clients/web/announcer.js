/** Tells screen readers what happens: that an answer is coming, then all of it, never token by token. */

export class Announcer {
  /** @param {HTMLElement} region a visually hidden role=status */
  constructor(region) {
    this.region = region;
  }

  /** @param {string} words */
  say(words) {
    // The same words twice in a row are only heard again if the region was empty in between.
    this.region.textContent = "";
    setTimeout(() => (this.region.textContent = words), 50);
  }
}
