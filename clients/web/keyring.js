/** Keeps the API key: for this tab, or on this device if the person says so. */

import { ofDevice, ofTab } from "./storage.js";

const NAME = "streamlane-key";

export const keyring = {
  /** @returns {string | undefined} */
  get key() { return ofTab.get(NAME) ?? ofDevice.get(NAME) ?? undefined; },

  /** @param {string} key @param {boolean} remember */
  keep(key, remember) {
    this.forget();
    (remember ? ofDevice : ofTab).set(NAME, key);
  },

  forget() {
    ofTab.remove(NAME);
    ofDevice.remove(NAME);
  },
};
