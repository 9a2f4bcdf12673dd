/** The frame around the views: name, navigation, state of the server; or the question for a key. */
import { useEffect, useRef } from "preact/hooks";
import { AdaptersView } from "./adapters/adapters_view.js";
import { DataView } from "./data/data_view.js";
import { JobsView } from "./jobs/jobs_view.js";
import { KeyForm } from "./key_form.js";
import { PlaygroundView } from "./playground/playground_view.js";
import { ServerView } from "./server/server_view.js";
import { StatusLine } from "./server/status_line.js";
import { server, watchServer } from "./server/server_state.js";
import { html } from "./shared/html.js";
import { useRoute } from "./shared/route.js";
import { Status } from "./shared/status.js";
import { useStore } from "./shared/store.js";

/** Views by the first part of the address' fragment; the first one is shown at the beginning. */
const VIEWS = {
  playground: { title: "Playground", View: PlaygroundView },
  adapters: { title: "Adapters", View: AdaptersView },
  jobs: { title: "Jobs", View: JobsView },
  data: { title: "Data", View: DataView },
  server: { title: "Server", View: ServerView },
};

export function App() {
  const { reach, problem, props } = useStore(server);
  const [name, ...rest] = useRoute();
  const current =
    /** @type {keyof typeof VIEWS} */ (Object.hasOwn(VIEWS, name) ? name : "playground");
  const { title, View } = VIEWS[current];
  const heading = useHeading(title);
  useEffect(watchServer, []);
  if (reach === "key") return html`<${KeyForm} problem=${problem} />`;
  return html`
    <a class="skip" href="#main" onClick=${toMain}>Skip to the content</a>
    <header>
      <div class="brand">
        <img src="page/icon.svg" alt="" width="24" height="24" />
        <span>graft</span>
      </div>
      <nav aria-label="Views">
        <ul>
          ${Object.entries(VIEWS).map(([key, view]) =>
            html`
              <li>
                <a href=${`#${key}`} aria-current=${key === current ? "page" : undefined}>
                  ${view.title}
                </a>
              </li>
            `
          )}
        </ul>
      </nav>
      <${StatusLine} />
    </header>
    <main id="main" tabindex="-1">
      <h1 ref=${heading} tabindex="-1">${title}</h1>
      ${reach === "failed" && html`<p class="problem" role="alert">${problem}</p>`}
      ${props === undefined
        ? html`<p>${reach === "failed" ? "Trying again." : "Asking the server."}</p>`
        : html`<${View} path=${rest} />`}
    </main>
    <${Status} />
  `;
}

/**
 * Names the window after a view, and moves the focus to the heading when the view changes, so that a
 * screen reader says where it is.
 *
 * @param {string} title
 */
function useHeading(title) {
  const heading = useRef(/** @type {HTMLElement | null} */ (null));
  const before = useRef(title);
  useEffect(() => {
    document.title = `${title} · graft`;
    if (before.current !== title) heading.current?.focus();
    before.current = title;
  }, [title]);
  return heading;
}

/** @param {Event} event of the link, whose fragment would be taken for a view */
function toMain(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
