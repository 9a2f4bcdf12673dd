import { assertEquals } from "@std/assert";
import { Evaluations } from "../../src/finetune/evaluations.ts";
import { batchesDigest } from "../../src/data/batches_digest.ts";
import { readEvaluationRecord, writeEvaluationRecord } from "../../src/model/evaluation_record.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { batchOf, rowsOf } from "../helpers/training_step.ts";

const RECORD = {
  runtime: "onnxruntime 1.30.0",
  dataDigest: "sha256:12",
  base: { losses: [4.5, 2.25], targets: [3, 2] },
  adapter: { losses: [3.5, 1.25], targets: [3, 2] },
};

Deno.test("readEvaluationRecord() gives what was written, of the adapter that it was written for", () =>
  inTempDir((dir) => {
    assertEquals(readEvaluationRecord(dir), undefined);
    Deno.writeTextFileSync(`${dir}/graft.json`, '{"files":{}}');
    writeEvaluationRecord(dir, RECORD);
    assertEquals(readEvaluationRecord(dir), RECORD);
    Deno.writeTextFileSync(`${dir}/graft.json`, '{"files":{"a":"b"}}');
    assertEquals(readEvaluationRecord(dir), undefined);
    return Promise.resolve();
  }));

Deno.test("readEvaluationRecord() makes nothing of a record that is damaged", () =>
  inTempDir((dir) => {
    Deno.writeTextFileSync(`${dir}/graft.json`, "{}");
    writeEvaluationRecord(dir, RECORD);
    const path = `${dir}/evaluation.json`;
    const whole = Deno.readTextFileSync(path);
    const damaged = [
      whole.slice(0, -4),
      whole.replace("[3,2]", "[3]"),
      whole.replace("[4.5,2.25]", '["4.5",2.25]'),
      whole.replace("[4.5,2.25]", "null"),
      whole.replace('"format_version":1', '"format_version":2'),
      whole.replace('"runtime":"onnxruntime 1.30.0"', '"runtime":7'),
    ];
    for (const text of damaged) {
      Deno.writeTextFileSync(path, text);
      assertEquals(readEvaluationRecord(dir), undefined, text);
    }
    return Promise.resolve();
  }));

Deno.test("Evaluations pairs the losses before the first step with those of the adapter kept", () => {
  const evaluations = new Evaluations();
  const told = (step: number, lossSum: number) =>
    evaluations.callbacks.onEvaluate!({
      ...{ step, loss: lossSum / 2, seconds: 1, improved: true },
      parts: [{ lossSum, targetCount: 2 }],
    });
  told(4, 6);
  assertEquals(evaluations.around(4), undefined);
  told(0, 8);
  told(8, 7);
  const [base, adapter] = [8, 6].map((loss) => ({ losses: [loss], targets: [2] }));
  assertEquals(evaluations.around(4), { base, adapter });
  assertEquals([evaluations.around(0), evaluations.around(5)], [undefined, undefined]);
});

Deno.test("batchesDigest() differs with tokens, targets and order", async () => {
  const batch = (lengths: readonly number[]) => batchOf(rowsOf(lengths), 40, "causal");
  const [a, b] = [batch([5, 12]), batch([7])];
  const digests = await Promise.all([
    batchesDigest([a, b]),
    batchesDigest([b, a]),
    batchesDigest([a]),
    batchesDigest([{ ...a, labels: Array.from(a.labels!, () => 1) }]),
  ]);
  assertEquals(new Set(digests).size, 4);
  assertEquals(await batchesDigest([batch([5, 12]), batch([7])]), digests[0]);
});
