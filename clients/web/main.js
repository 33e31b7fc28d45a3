/** Starts the page. */

import { App } from "./app.js";
import { byId, icon } from "./dom.js";
import { connect } from "./streamlane.js";

for (const [id, picture] of /** @type {const} */ ([
  ["toggle-sidebar", "menu"], ["close-sidebar", "close"], ["open-settings", "settings"], ["open-help", "help"],
])) byId(id).append(icon(picture));
for (const button of document.querySelectorAll(".close")) button.append(icon("close"));
byId("send").append(icon("send"), icon("stop"));
byId("jump").prepend(icon("arrowDown"));
byId("new-chat").prepend(icon("plus"));

void new App({ connect, baseURL: new URL("v1", document.baseURI).href }).start();
