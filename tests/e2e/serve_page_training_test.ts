import { Buffer } from "node:buffer";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { testInChromium, withPage } from "../helpers/chromium.ts";
import {
  answered,
  ask,
  NAME,
  press,
  QUESTION,
  until,
  view,
  withAdapters,
} from "../helpers/page_steps.ts";

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
