/** Starts the page. */
import { render } from "preact";
import { App } from "./app.js";
import { html } from "./shared/html.js";

render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
