/** What tests do with the page of `graft serve`, by role and keyboard. */
import { assertEquals } from "@std/assert";
import type { Page } from "playwright-core";
import { saveRandomAdapter } from "./adapter_folder.ts";
import { modelDir } from "./fixture_models.ts";
import { postJson } from "./http_server.ts";
import { servingWith } from "./serving.ts";
import { inTempDir } from "./temp_dir.ts";

/** The tiny model that the server answers with. */
export const NAME = "tiny-llama-genai-fp32";
/** What the playground is asked. */
export const QUESTION = "turn on the light";

/** `graft serve` for as long as `body` takes. */
export async function withServer(
  body: (server: { readonly url: string }) => Promise<void>,
  flags: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<void> {
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  const { child, url, stderr } = await servingWith({}, modelDir(NAME), "-t", "1", ...flags);
  for (const name of Object.keys(variables)) Deno.env.delete(name);
  try {
    await body({ url });
  } finally {
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0, await stderr);
  }
}

/** {@linkcode withServer} with folders of jobs and of the adapters `a` and `b`, at 41.5 °C. */
export async function withAdapters(body: (server: { readonly url: string }) => Promise<void>) {
  await inTempDir(async (folder) => {
    const targetModules = ["q_proj", "v_proj", "up_proj"];
    for (const [i, name] of ["a", "b"].entries()) {
      saveRandomAdapter(`${folder}/adapters/${name}`, NAME, { seed: i + 1, targetModules });
    }
    const zone = `${folder}/sys/class/thermal/thermal_zone0`;
    Deno.mkdirSync(zone, { recursive: true });
    Deno.writeTextFileSync(`${zone}/type`, "cpu-thermal\n");
    Deno.writeTextFileSync(`${zone}/temp`, "41500\n");
    const flags = ["--lora-dir", `${folder}/adapters`, "--jobs-dir", `${folder}/jobs`];
    await withServer(body, flags, { GRAFT_SYSFS: `${folder}/sys` });
  });
}

/** Opens a view by keyboard. */
export const view = async (page: Page, name: string) => {
  await page.getByRole("navigation").getByRole("link", { name }).press("Enter");
  await page.getByRole("heading", { level: 1, name }).waitFor();
};

export const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
/** Presses a button by keyboard. */
export const press = (page: Page, name: string) => button(page, name).press("Enter");
/** Waits for the page to say that something was done. */
export const status = (page: Page, text: string) =>
  page.getByRole("status").filter({ hasText: text }).waitFor();

/** Waits for an expression to be true in the page, whose policy lets no text run there. */
export async function until(page: Page, expression: string): Promise<void> {
  for (const start = performance.now(); !await page.evaluate(expression);) {
    if (performance.now() - start > 120_000) throw new Error(`It stays false: ${expression}`);
  }
}

/** Runs a script in the page whenever its answers change: the next moment may be too late. */
export async function onAnswers(page: Page, script: string): Promise<void> {
  await page.evaluate(`new MutationObserver(() => {
    const texts = [...document.querySelectorAll(".answer .text")];
    ${script};
  }).observe(document.querySelector(".columns"), {
    subtree: true,
    characterData: true,
    childList: true,
  })`);
}

/** What the server answers to the question. */
export async function answerOf(url: string, body: object): Promise<string> {
  const { json } = await postJson(`${url}/v1/chat/completions`, {
    messages: [{ role: "user", content: QUESTION }],
    max_tokens: 100,
    temperature: 0,
    ...body,
  });
  return (json.choices as { message: { content: string } }[])[0].message.content;
}

/** The playground's answer in a column. */
export const column = (page: Page, name: string) =>
  page.getByRole("article", { name, exact: true });

/** Asks the playground. */
export async function ask(page: Page) {
  await view(page, "Playground");
  const message = page.getByRole("textbox", { name: "Message", exact: true });
  await message.fill(QUESTION);
  // Keys do nothing before the page has drawn what was written.
  await page.locator("button:enabled", { hasText: "Send" }).waitFor();
  await message.press("Control+Enter");
}

/** What a column says in the end. */
export async function answered(page: Page, name: string): Promise<string | null> {
  await column(page, name).getByText(/^Complete/).waitFor();
  return await column(page, name).locator("[aria-live]").textContent();
}
