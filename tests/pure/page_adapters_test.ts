import { assertEquals } from "@std/assert";
import { answersText } from "../../src/http/page/adapters/answers_text.js";

Deno.test("answersText() says how an adapter answers now, and what becomes of its merge", () => {
  const bound = { way: "bound", merge: null, gain_kept: null, ms_per_token: null } as const;
  assertEquals(answersText(bound), "bound");
  const running = { state: "running", error: null } as const;
  assertEquals(answersText({ ...bound, merge: running }), "bound; being merged");
  assertEquals(answersText({ ...bound, way: null, merge: running }), "not yet; being merged");
  const failed = { state: "failed", error: "it keeps too little" } as const;
  assertEquals(answersText({ ...bound, merge: failed }), "bound; not merged: it keeps too little");
  assertEquals(
    answersText({
      way: "merged",
      merge: { state: "done", error: null },
      gain_kept: 0.9891,
      ms_per_token: { bound: 8.44, merged: 7.06 },
    }),
    "merged, keeps 98.9% of its gain (8.4 ms a token bound, 7.1 merged)",
  );
});
