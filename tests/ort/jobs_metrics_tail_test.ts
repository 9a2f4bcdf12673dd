import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { MetricsTail } from "../../src/jobs/metrics_tail.ts";

const line = (step: number, loss: number) => JSON.stringify({ step, loss }) + "\n";
const steps = (tail: MetricsTail) => tail.fresh().map(({ data }) => data.step);

Deno.test("MetricsTail reports each added line once, when it is whole", () => {
  const folder = Deno.makeTempDirSync();
  const path = join(folder, "metrics.jsonl");
  try {
    const tail = new MetricsTail(path);
    assertEquals(steps(tail), []);
    Deno.writeTextFileSync(path, line(1, 2.5) + line(2, 2.25));
    assertEquals(steps(tail), [1, 2]);
    assertEquals(steps(tail), []);
    const [begin, end] = [line(3, 2).slice(0, 7), line(3, 2).slice(7)];
    Deno.writeTextFileSync(path, begin, { append: true });
    assertEquals(steps(tail), []);
    Deno.writeTextFileSync(path, end, { append: true });
    assertEquals(steps(tail), [3]);
    assertEquals(steps(new MetricsTail(path)), []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("MetricsTail goes on behind the lines that a resume keeps", () => {
  const folder = Deno.makeTempDirSync();
  const path = join(folder, "metrics.jsonl");
  try {
    Deno.writeTextFileSync(path, [1, 2, 3, 4].map((step) => line(step, 2)).join(""));
    const tail = new MetricsTail(path);
    Deno.writeTextFileSync(path, line(1, 2) + line(2, 2));
    assertEquals(steps(tail), []);
    Deno.writeTextFileSync(path, line(3, 2), { append: true });
    assertEquals(steps(tail), [3]);
    // Replaced between two calls: the place is inside of a line, of which nothing is reported.
    Deno.writeTextFileSync(path, line(1, 2) + line(2, 2) + line(3, 1.23456789) + line(4, 2));
    assertEquals(steps(tail), [4]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
