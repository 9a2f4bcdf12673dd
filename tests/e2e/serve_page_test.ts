import { Buffer } from "node:buffer";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { Page } from "playwright-core";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { testInChromium, withPage } from "../helpers/chromium.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { postJson, serveTiny } from "../helpers/http_server.ts";
import { serving } from "../helpers/serving.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const NAME = "tiny-llama-genai-fp32";
const QUESTION = "turn on the light";

/** `graft serve` with folders of adapters `a` and `b` and of jobs, for as long as `body` takes. */
async function withServer(
  body: (server: { readonly url: string }) => Promise<void>,
  flags: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<void> {
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  const { child, url, stderr } = await serving(modelDir(NAME), "-t", "1", ...flags);
  for (const name of Object.keys(variables)) Deno.env.delete(name);
  try {
    await body({ url });
  } finally {
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0, await stderr);
  }
}

async function withAdapters(body: (server: { readonly url: string }) => Promise<void>) {
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

const view = async (page: Page, name: string) => {
  await page.getByRole("navigation").getByRole("link", { name }).press("Enter");
  await page.getByRole("heading", { level: 1, name }).waitFor();
};

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const press = (page: Page, name: string) => button(page, name).press("Enter");
const status = (page: Page, text: string) =>
  page.getByRole("status").filter({ hasText: text }).waitFor();

/** Waits for an expression to be true in the page, whose policy lets no text run there. */
async function until(page: Page, expression: string): Promise<void> {
  for (const start = performance.now(); !await page.evaluate(expression);) {
    if (performance.now() - start > 30_000) throw new Error(`It stays false: ${expression}`);
  }
}

/** Runs a script in the page whenever its answers change: the next moment may be too late. */
async function onAnswers(page: Page, script: string): Promise<void> {
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
async function answerOf(url: string, body: object): Promise<string> {
  const { json } = await postJson(`${url}/v1/chat/completions`, {
    messages: [{ role: "user", content: QUESTION }],
    max_tokens: 100,
    temperature: 0,
    ...body,
  });
  return (json.choices as { message: { content: string } }[])[0].message.content;
}

/** The playground's answer in a column. */
const column = (page: Page, name: string) => page.getByRole("article", { name, exact: true });

async function ask(page: Page) {
  await view(page, "Playground");
  const message = page.getByRole("textbox", { name: "Message", exact: true });
  await message.fill(QUESTION);
  await message.press("Control+Enter");
}

async function answered(page: Page, name: string): Promise<string | null> {
  await column(page, name).getByText(/^Complete/).waitFor();
  return await column(page, name).locator("[aria-live]").textContent();
}

testInChromium(
  "the page of graft serve: adapters are loaded, replaced, rolled back, mixed and compared by keyboard",
  async () => {
    await withAdapters(async ({ url }) => {
      await withPage(url, async (page) => {
        await page.getByRole("heading", { level: 1, name: "Playground" }).waitFor();
        assertEquals(await page.title(), "Playground · graft");
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        assertEquals(await page.evaluate("document.activeElement.id"), "main");

        await view(page, "Adapters");
        const named = async () => {
          const adapters = await (await fetch(`${url}/lora-adapters`)).json();
          return adapters.map((
            { name, path, scale }: Record<string, string>,
          ) => [name, path.split("/").at(-1), scale]);
        };
        const load = async (folder: string, name: string, what: string) => {
          await page.getByLabel("Folder").selectOption(folder);
          await page.getByLabel("Name").fill(name);
          await press(page, what);
        };
        await load("a", "lamp", "Load");
        await status(page, "lamp is loaded");
        await load("b", "lamp", "Replace lamp");
        await status(page, "lamp is replaced");
        assertEquals(await named(), [["lamp", "b", 0]]);
        await press(page, "Roll back lamp");
        await status(page, "lamp is rolled back");
        assertEquals(await named(), [["lamp", "a", 0]]);
        await load("b", "mill", "Load");
        await status(page, "mill is loaded");

        const slider = page.getByRole("slider", { name: "Share of lamp" });
        await slider.press("ArrowRight");
        await status(page, "The mix is set");
        assertEquals(await named(), [["lamp", "a", 0.05], ["mill", "b", 0]]);
        await slider.press("End");
        await page.getByText("2.00").waitFor();

        await view(page, "Playground");
        await onAnswers(
          page,
          "window.together ||= texts.filter((text) => " +
            "text.ariaBusy === 'true' && text.textContent !== '').length >= 3",
        );
        await ask(page);
        const mixed = `${NAME}, mixed`;
        const [base, lamp, mix] = [
          await answered(page, NAME),
          await answered(page, "lamp"),
          await answered(page, mixed),
        ];
        const cut = (text: string | null, like: string) => text!.slice(0, like.length);
        for (
          const [shown, body] of [
            [base, { lora: [] }],
            [lamp, { model: "lamp" }],
            [mix, { lora: [{ id: 0, scale: 2 }] }],
          ] as const
        ) {
          const expected = await answerOf(url, body);
          assertEquals(cut(shown, expected), expected);
        }
        assertEquals(new Set([base, lamp, mix]).size, 3);
        const measured = await column(page, "lamp").getByText(/^Complete/).textContent();
        assert(
          /first token after [\d.]+ s · [\d.]+ tokens\/s · \d+ tokens/.test(measured!),
          measured!,
        );

        assertEquals(await page.evaluate("window.together"), true);

        // Stopped at its first text.
        await onAnswers(
          page,
          "const stop = [...document.querySelectorAll('button')]" +
            ".find((one) => one.textContent === 'Stop');" +
            "if (texts[0].ariaBusy === 'true' && texts[0].textContent !== '') stop.click()",
        );
        await ask(page);
        await column(page, NAME).getByText(/^Stopped/).waitFor();

        await view(page, "Adapters");
        await press(page, "Clear the mix");
        await status(page, "The mix is cleared");
        await press(page, "Unload lamp");
        await status(page, "lamp is unloaded");
        assertEquals(await named(), [["mill", "b", 0]]);
        // What another client changed meanwhile is not overwritten.
        await postJson(`${url}/v1/load_lora_adapter`, {
          lora_name: "mill",
          lora_path: "a",
          load_inplace: true,
        });
        await page.getByText("none", { exact: true }).waitFor({ state: "detached" });
        assertEquals(await button(page, "Roll back mill").isEnabled(), true);
      });
    });
  },
);

testInChromium(
  "the page of graft serve: rows are labelled by keyboard, a job trains on them, and its curves are shown",
  async () => {
    await withAdapters(async ({ url }) => {
      await withPage(url, async (page) => {
        await ask(page);
        const text = await answered(page, NAME);
        await press(page, `Label this answer of ${NAME}`);
        const cell = (name: string) => page.getByRole("textbox", { name, exact: true });
        assertEquals(await cell("Prompt of row 1").inputValue(), QUESTION);
        assertEquals(await cell("Completion of row 1").inputValue(), text);
        await cell("Completion of row 1").fill("the light is on");
        for (const row of [2, 3]) {
          await page.keyboard.press("Control+Enter");
          await page.keyboard.type(`light number ${row} please`);
          await page.keyboard.press("Tab");
          await page.keyboard.type(`light ${row} is <b>on</b>`);
        }
        assertEquals(await cell("Prompt of row 3").inputValue(), "light number 3 please");
        await press(page, "Delete row 2");
        assertEquals(await cell("Prompt of row 2").inputValue(), "light number 3 please");
        assertEquals(await page.evaluate("document.activeElement.ariaLabel"), "Prompt of row 2");
        const row = (i: number) =>
          JSON.stringify({ prompt: `lamp ${i}`, completion: `${i} is on` });
        await page.getByLabel("Import a JSONL file").setInputFiles({
          name: "rows.jsonl",
          mimeType: "application/jsonl",
          buffer: Buffer.from(
            Array.from({ length: 10 }, (_, i) => row(i)).join("\n") + "\nnot a row\n",
          ),
        });
        await page.getByRole("alert").filter({ hasText: "no such row: line 11" }).waitFor();
        await page.getByText("12 rows").waitFor();
        // The browser keeps them.
        await until(page, "(localStorage.getItem('graft.rows') ?? '').includes('lamp 9')");
        await page.reload();
        await page.getByText("12 rows").waitFor();
        assertEquals(await cell("Completion of row 2").inputValue(), "light 3 is <b>on</b>");

        await page.getByLabel("Epochs").fill("300");
        await page.getByLabel("Name of the result").fill("lamp");
        await press(page, "Start a job");
        await page.getByRole("heading", { name: /^Job ftjob-/ }).waitFor();
        const state = (name: string) => page.locator(".state").getByText(name, { exact: true });
        await state("running").waitFor();
        const loss = page.getByRole("figure", { name: "Loss" });
        await loss.getByText(/^Last: training \d/).waitFor();
        await loss.getByText("Loss as a table").press("Enter");
        await loss.getByRole("row").nth(5).waitFor();
        const table = await loss.getByRole("row").allTextContents();
        assert(table.some((line) => /^[2-9]\d*\.\d{4}/.test(line)), table.join("\n"));
        const rate = page.getByRole("figure", { name: "Learning rate" });
        await rate.getByText(/^Last: learning rate \d\.\d\de-4/).waitFor();
        const drawn = await rate.locator("canvas").evaluate((canvas) => {
          const { width, height } = canvas as unknown as { width: number; height: number };
          const data = (canvas as unknown as {
            getContext(kind: string): {
              getImageData(x: number, y: number, w: number, h: number): { data: Uint8Array };
            };
          }).getContext("2d").getImageData(0, 0, width, height).data;
          return data.some((value) => value !== 0);
        });
        assert(drawn);

        await press(page, "Pause");
        await state("paused").waitFor();
        await press(page, "Resume");
        await state("running").waitFor();
        const { data: jobs } = await (await fetch(`${url}/v1/fine_tuning/jobs`)).json();
        assertEquals([jobs.length, jobs[0].user_provided_suffix], [1, "lamp"]);
        const uploaded = await fetch(`${url}/v1/files/${jobs[0].training_file}/content`);
        const lines = (await uploaded.text()).trimEnd().split("\n").map((line) => JSON.parse(line));
        assertEquals(lines.length, 11);
        assertEquals(lines[0], { prompt: QUESTION, completion: "the light is on" });
        assertNotEquals(jobs[0].validation_file, null);
        await press(page, "Cancel");
        await state("cancelled").waitFor();
        await page.getByRole("link", { name: "All jobs" }).press("Enter");
        await page.getByRole("row", { name: /cancelled/ }).waitFor();

        await view(page, "Server");
        await page.locator("dl").getByText("41.5 °C").waitFor();
        const temperature = page.getByRole("figure", { name: "Temperature" });
        await temperature.getByText("Last: hottest zone, cpu-thermal 41.5 °C").waitFor();
        await page.getByRole("figure", { name: "Tokens per second" }).getByText(/^Last: /)
          .waitFor();
        await page.getByText("256 tokens").waitFor();
      });
    });
  },
);

/** A name that would run if it became markup. */
const MARKUP = `<img src=x onerror="document.title='run'">`;

testInChromium(
  "the page of graft serve asks for a key, which stays in its window, and makes no markup of names",
  async () => {
    await withServer(async ({ url }) => {
      await withPage(url, async (page) => {
        const key = page.getByLabel("Key");
        await key.fill("wrong");
        await key.press("Enter");
        await page.getByRole("alert").filter({ hasText: "does not know this key" }).waitFor();
        await key.fill("secret");
        await key.press("Enter");
        await ask(page);
        assertEquals(await page.locator("dd").first().textContent(), MARKUP);
        assertEquals(
          await answered(page, MARKUP),
          await page.evaluate(`fetch("/v1/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json", authorization: "Bearer secret" },
        body: JSON.stringify({
          messages: [{ role: "user", content: "${QUESTION}" }], max_tokens: 128, temperature: 0,
        }),
      }).then((response) => response.json()).then(({ choices }) => choices[0].message.content)`),
        );
        assertEquals(new URL(page.url()).search, "");
        assert(!page.url().includes("secret"));
        assertEquals(await page.evaluate("JSON.stringify(localStorage).includes('secret')"), false);
        await page.reload();
        await page.getByRole("textbox", { name: "Message", exact: true }).waitFor();
        for (
          const [name, flag] of [["Adapters", "--lora-dir"], ["Jobs", "--jobs-dir"]] as const
        ) {
          await view(page, name);
          await page.locator("code").filter({ hasText: flag }).first().waitFor();
        }
      }, { allowed: /401/ });
    }, ["--api-key", "secret", "--alias", MARKUP]);
  },
);

testInChromium(
  "the page of graft serve compares texts with an encoder, and fits a narrow window",
  async () => {
    await using server = await serveTiny("default", { page: true });
    await withPage(server.url, async (page) => {
      await page.getByLabel("First text").fill(QUESTION);
      await page.getByLabel("Second text").fill("switch the lamp on");
      await press(page, "Compare");
      const { json } = await postJson(`${server.url}/v1/embeddings`, {
        input: [QUESTION, "switch the lamp on"],
      });
      const [a, b] = (json.data as { embedding: number[] }[]).map(({ embedding }) => embedding);
      // The vectors have length 1.
      const similarity = a.reduce((sum, value, i) => sum + value * b[i], 0);
      assert(similarity > 0.3 && similarity < 0.99);
      await page.getByRole("strong").filter({ hasText: similarity.toFixed(4) }).waitFor();
      for (const name of ["Playground", "Adapters", "Jobs", "Data", "Server"]) {
        await view(page, name);
        const wider = "document.documentElement.scrollWidth > innerWidth";
        assertEquals(await page.evaluate(wider), false, name);
      }
      await view(page, "Data");
      assertEquals(await page.getByLabel("text and label").isChecked(), true);
      const gone = page.getByRole("alert").filter({ hasText: "The server does not answer" });
      await page.context().setOffline(true);
      await gone.waitFor();
      await page.context().setOffline(false);
      await gone.waitFor({ state: "detached" });
    }, { viewport: { width: 360, height: 740 }, allowed: /ERR_INTERNET_DISCONNECTED/ });
  },
);

testInChromium(
  "the page of graft serve shows a text's classes, and takes it to be labelled",
  async () => {
    await using server = await serveTiny("tiny-bert-torch-fp32", { page: true });
    await withPage(server.url, async (page) => {
      await page.getByLabel("Text").fill(QUESTION);
      await press(page, "Classify");
      const { json } = await postJson(`${server.url}/v1/classify`, { input: QUESTION });
      const [{ classes }] = json.data as { classes: { label: string; probability: number }[] }[];
      await page.getByRole("table").waitFor();
      const shown = await page.getByRole("row").allTextContents();
      assertEquals(
        shown.slice(1).map((row) => row.trim()),
        classes.map(({ label, probability }) => label + probability.toFixed(4)),
      );
      await press(page, "Label this text");
      const cell = (name: string) => page.getByRole("textbox", { name, exact: true }).inputValue();
      assertEquals(
        [await cell("Text of row 1"), await cell("Label of row 1")],
        [QUESTION, classes[0].label],
      );
    });
  },
);
