import { assertAlmostEquals, assertEquals } from "@std/assert";
import { MergeProgress, type MergeReport } from "../../src/model/merge_progress.ts";

Deno.test("MergeProgress tells shares of all expected work, and lower ones where more is needed", async () => {
  const reports: MergeReport[] = [];
  const progress = new MergeProgress((report) => reports.push(report), () => 0);
  progress.expect("base", "adapter", "tuning");
  const half = (stage: "base" | "adapter" | "tuning" | "measuring") =>
    progress.run(stage, (tell) => Promise.resolve(tell(stage, 0.5)));
  await half("base");
  await half("adapter");
  progress.expect("measuring");
  await half("tuning");
  await half("measuring");
  const shares = reports.map(({ share }) => share);
  assertAlmostEquals(shares[0], 0.5 / 5);
  assertAlmostEquals(shares[1], 1.5 / 5);
  assertAlmostEquals(shares[2], 3.5 / 6);
  assertAlmostEquals(shares[3], 5.5 / 6);
  assertEquals(reports.map(({ text }) => text), ["base", "adapter", "tuning", "measuring"]);
});

Deno.test("MergeProgress adds up the seconds of each stage, also of one that fails", async () => {
  let now = 0;
  const progress = new MergeProgress(undefined, () => now);
  const takes = (milliseconds: number) => () => {
    now += milliseconds;
    return Promise.resolve();
  };
  await progress.run("measuring", takes(2000));
  await progress.run("tuning", takes(5000));
  await progress.run("measuring", takes(1000));
  await progress.run("timing", () => {
    now += 4000;
    return Promise.reject(new Error("ended"));
  }).catch(() => {});
  assertEquals([...progress.seconds], [["measuring", 3], ["tuning", 5], ["timing", 4]]);
  assertEquals(progress.elapsed, 12);
});
