import { assert, assertEquals } from "@std/assert";
import { testInChromium, withPage } from "../helpers/chromium.ts";
import { postJson, serveTiny } from "../helpers/http_server.ts";
import { answered, ask, press, QUESTION, view, withServer } from "../helpers/page_steps.ts";

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
