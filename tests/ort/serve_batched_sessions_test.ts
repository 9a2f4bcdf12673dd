import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Runner } from "../../src/runtime/runner.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { openSessions } from "../../src/serve/open_sessions.ts";
import type { TokenSessions } from "../../src/serve/token_sessions.ts";
import { argmax } from "../../src/statistics.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference } from "../helpers/logits.ts";

const MODEL = "tiny-llama-genai-fp32";
/** Texts of several lengths, three of which begin alike. */
const BEGINNING = Array.from({ length: 40 }, (_, i) => (i * 37 + 5) % 500);
const PROMPTS = [
  [1, 45, 300, 17, 212, 9, 333, 81],
  [...BEGINNING, 7],
  [64],
  [...BEGINNING, 8, 9, 10],
  Array.from({ length: 150 }, (_, i) => (i * 7919 + 13) % 500),
  [...BEGINNING.slice(0, 20), 3, 4],
];

async function withSessions<T>(
  parallel: number,
  body: (sessions: TokenSessions, runner: Runner) => Promise<T>,
  name = MODEL,
): Promise<T> {
  using runner = createOrtRunner({ threads: 1 });
  using opened = await openSessions(runner, readModel(modelDir(name)), { label: name, parallel });
  return await body(opened.sessions, runner);
}

/** The likeliest tokens one after the other, with the logits that they were chosen by. */
async function greedy(sessions: TokenSessions, prompt: readonly number[], count: number) {
  using session = sessions.open();
  const ids: number[] = [];
  const logits: Float32Array[] = [];
  let found = await session.continueTo(prompt);
  for (;;) {
    logits.push(found.slice());
    ids.push(argmax(found));
    if (ids.length === count) return { ids, logits };
    found = await session.advance(ids.slice(-1));
  }
}

/** Each prompt by itself. */
const alone = await withSessions(1, async (sessions) => {
  const found = [];
  for (const [i, prompt] of PROMPTS.entries()) {
    found.push(await greedy(sessions, prompt, 12 + 5 * i));
  }
  return found;
});

for (const parallel of [2, 3, 8]) {
  Deno.test(`BatchedSessions of ${parallel} rows give each text the logits that it gets alone`, async () => {
    await withSessions(parallel, async (sessions) => {
      assertEquals(sessions.parallel, parallel);
      // Twice: the second time rows hold texts that begin alike.
      for (let round = 0; round < 2; round++) {
        const found = await Promise.all(
          PROMPTS.map((prompt, i) => greedy(sessions, prompt, 12 + 5 * i)),
        );
        found.forEach(({ ids, logits }, i) => {
          assertEquals(ids, alone[i].ids);
          logits.forEach((values, t) =>
            assert(difference(values, alone[i].logits[t]).absolute < 2e-5)
          );
        });
      }
    });
  });
}

Deno.test("BatchedSessions end a wait and a read when their signal is aborted, and give the row to others", async () => {
  await withSessions(2, async (sessions) => {
    const stop = new AbortController();
    using a = sessions.open();
    await a.continueTo(PROMPTS[0]);
    const b = sessions.open(stop.signal);
    await b.continueTo(PROMPTS[1]);
    const c = sessions.open(stop.signal);
    const waiting = c.continueTo(PROMPTS[2]);
    const reading = b.advance([5]);
    stop.abort(new Error("left"));
    await assertRejects(() => waiting, Error, "left");
    await assertRejects(() => reading, Error, "left");
    await assertRejects(() => b.advance([6]), Error, "left");
    b[Symbol.dispose]();
    c[Symbol.dispose]();
    assertEquals((await greedy(sessions, PROMPTS[3], 27)).ids, alone[3].ids);
  });
});

Deno.test("openSessions reads one text at a time where a model's caches grow or are missing", async () => {
  await withSessions(4, async (sessions) => {
    assertEquals(sessions.parallel, 1);
    const found = await Promise.all(
      PROMPTS.slice(0, 3).map((prompt) => greedy(sessions, prompt, 5)),
    );
    found.forEach(({ ids }, i) => assertEquals(ids, alone[i].ids.slice(0, 5)));
  }, "tiny-llama-torch-fp32");
});
