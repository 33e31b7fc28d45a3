/** A short message at the bottom that goes away by itself, with one thing to do at most. */

import { h } from "./dom.js";

const STAYS = 8000; // ms

export class Toast {
  /** @param {HTMLElement} place a role=status */
  constructor(place) {
    this.place = place;
  }

  /** @param {string} words @param {{label: string, action: () => void} | undefined} [offer] */
  show(words, offer) {
    clearTimeout(this.timer);
    const hide = () => {
      this.place.hidden = true;
      this.place.replaceChildren();
    };
    const button = offer && h("button", { type: "button", class: "button", onclick: () => {
      hide();
      offer.action();
    } }, offer.label);
    this.place.hidden = false;
    this.place.replaceChildren(h("span", {}, words), ...(button ? [button] : []));
    this.timer = setTimeout(hide, STAYS);
  }
}
