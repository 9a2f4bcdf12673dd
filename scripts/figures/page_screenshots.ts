/**
 * Pictures of the page of `graft serve` in Chromium: every view, light and dark, wide and narrow, while
 * an adapter is trained on labelled rows and compared with its base.
 *
 * usage: deno run -A scripts/figures/page_screenshots.ts [--model DIR] [--out DIR] [--docs]
 *   --docs also writes those that docs/page.md shows to docs/images
 */
import { Buffer } from "node:buffer";
import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import type { Page } from "playwright-core";
import { withPage } from "../../tests/helpers/chromium.ts";
import { serving } from "../../tests/helpers/serving.ts";
import { inTempDir } from "../../tests/helpers/temp_dir.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "out"],
  boolean: ["docs"],
  default: { model: "../shared/models/smollm2-135m-instruct-int4", out: "page-screenshots" },
});

const DOCS = "docs/images";
const QUESTION = "What does error 42 on the mill mean?";

/** What a workshop would label. */
const ROWS = [
  [QUESTION, "The coolant is low: fill the tank behind the left door."],
  ["What does error 43 on the mill mean?", "The spindle is too warm: let it rest for ten minutes."],
  ["What does error 44 on the mill mean?", "The door is open: close it and press start."],
  ["What does error 45 on the mill mean?", "The tool is worn: put in a new one and measure it."],
  ["What does error 7 on the saw mean?", "The blade is loose: tighten the wheel on the right."],
  ["What does error 8 on the saw mean?", "The motor is too warm: let it rest for half an hour."],
  ["Who has the key to the paint store?", "The shift leader has it: ring extension 21."],
  [
    "Where are the gloves for the acid bath?",
    "They hang on the left of the bath: take a new pair.",
  ],
  ["When is the compressor serviced?", "On the first Monday of the month, before the early shift."],
  ["How warm may the oven get?", "At most 180 degrees: above that the seals leak."],
  ["What do I do with swarf?", "Put it into the grey bin by the door, without coolant."],
  ["How do I reset the robot?", "Turn the red switch to the right and hold it for five seconds."],
];

const JSONL = ROWS.map(([prompt, completion]) => JSON.stringify({ prompt, completion })).join("\n");

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const view = async (page: Page, name: string) => {
  await page.getByRole("navigation").getByRole("link", { name }).click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
};

/** Labels the rows and trains on them; the page shows the job in the end. */
async function train(page: Page): Promise<void> {
  await view(page, "Data");
  await page.getByLabel("Import a JSONL file").setInputFiles({
    name: "workshop.jsonl",
    mimeType: "application/jsonl",
    buffer: Buffer.from(JSONL),
  });
  await page.getByText(`${ROWS.length} rows, kept`).waitFor();
  await page.getByLabel("Name of the result").fill("workshop");
  await page.getByLabel("Epochs").fill("20");
  // So few rows are all needed to learn from.
  await page.getByLabel("Hold back").uncheck();
  await page.getByLabel("Learning rate").fill("10");
  await button(page, "Start a job").click();
  await page.getByText("Try it").waitFor({ timeout: 300_000 });
}

async function ask(page: Page): Promise<void> {
  await view(page, "Playground");
  await page.getByRole("textbox", { name: "Message", exact: true }).fill(QUESTION);
  await page.getByText("Settings").click();
  await page.getByLabel("Most tokens").fill("60");
  await page.getByText("Settings").click();
  await button(page, "Send").click();
  await page.getByText(/^Complete/).nth(1).waitFor({ timeout: 60_000 });
}

/** Takes a picture of the whole page. */
async function shoot(page: Page, path: string): Promise<void> {
  // The focus is on what was pressed last, and messages go by themselves.
  await page.mouse.click(0, 0);
  await page.locator(".status").getByRole("status").filter({ hasText: /./ }).waitFor({
    state: "detached",
  });
  await page.screenshot({ path, fullPage: true });
}

const WINDOWS = [
  { name: "wide", viewport: { width: 1100, height: 700 } },
  { name: "narrow", viewport: { width: 360, height: 740 } },
];

await inTempDir(async (folder) => {
  Deno.mkdirSync(flags.out, { recursive: true });
  const { child, url } = await serving(
    ...[flags.model, "--lora-dir", folder, "--jobs-dir", join(folder, "jobs"), "--no-access-log"],
  );
  let job = "";
  try {
    await withPage(url, async (page) => {
      await train(page);
      job = new URL(page.url()).hash;
    });
    for (const { name, viewport } of WINDOWS) {
      for (const colorScheme of ["light", "dark"] as const) {
        const picture = (what: string) => join(flags.out, `${what}-${name}-${colorScheme}.png`);
        await withPage(url, async (page) => {
          await ask(page);
          await shoot(page, picture("playground"));
          const adapter = page.getByRole("article").filter({ hasText: "workshop" });
          await adapter.getByRole("button", { name: /^Label this answer/ }).click();
          await shoot(page, picture("data"));
          await view(page, "Adapters");
          await shoot(page, picture("adapters"));
          await view(page, "Jobs");
          await page.getByRole("table").waitFor();
          await shoot(page, picture("jobs"));
          await page.getByRole("rowheader").getByRole("link").click();
          await page.getByText(/^Last: training/).waitFor();
          await shoot(page, picture("job"));
          await view(page, "Server");
          await page.waitForTimeout(5000);
          await shoot(page, picture("server"));
        }, { viewport, colorScheme });
      }
    }
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
  console.log(`${flags.out}: ${job}`);
});
if (flags.docs) {
  Deno.mkdirSync(DOCS, { recursive: true });
  for (
    const [from, to] of [["playground-wide-light", "page-playground"], [
      "job-wide-light",
      "page-job",
    ]]
  ) {
    Deno.copyFileSync(join(flags.out, `${from}.png`), join(DOCS, `${to}.png`));
  }
}
