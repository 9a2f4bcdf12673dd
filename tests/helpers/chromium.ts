/** A page in Chromium that is watched: what goes wrong in it, and where it sends requests. */
import { assertEquals } from "@std/assert";
import { type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { testWithTool } from "./requirements.ts";

const CHROMIUM = "chromium";

/** Nothing that Chromium does by itself, and nothing of a display. */
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** How long anything may take that the page does; a job has the lowest priority. */
const WAIT_MS = 120_000;

/** A test that needs Chromium. */
export function testInChromium(title: string, body: () => Promise<void>): void {
  testWithTool(CHROMIUM, title, body);
}

/** The path of a program. */
function which(name: string): string {
  const { stdout } = new Deno.Command("sh", { args: ["-c", `command -v ${name}`] }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}

/**
 * Opens a page in a browser with a new profile.
 *
 * @param body fails afterwards for each error of the page, each breach of its policy, and each request
 *   to another server
 * @param allowed errors that are expected, such as answers of 401
 */
export async function withPage(
  url: string,
  body: (page: Page) => Promise<void>,
  { allowed = /^$/, ...options }: BrowserContextOptions & { readonly allowed?: RegExp } = {},
): Promise<void> {
  const browser = await chromium.launch({ executablePath: which(CHROMIUM), args: ARGUMENTS });
  try {
    const context = await browser.newContext({ locale: "en-GB", ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(`${error}`));
    page.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      if (!allowed.test(message.text())) problems.push(message.text());
    });
    const requests: string[] = [];
    context.on("request", (request) => requests.push(request.url()));
    await page.goto(url);
    await body(page);
    assertEquals(problems, []);
    const others = requests.filter((request) => !/^(data|blob):/.test(request))
      .filter((request) => new URL(request).origin !== new URL(url).origin);
    assertEquals(others, []);
  } finally {
    await browser.close();
  }
}
