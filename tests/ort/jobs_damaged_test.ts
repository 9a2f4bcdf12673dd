import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { FileStore } from "../../src/jobs/file_store.ts";
import { Jobs } from "../../src/jobs/jobs.ts";
import { certifiedGainKept } from "../../src/tasks/merged_folder.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const JOB = `ftjob-${"0".repeat(24)}`;
const FILE = `file-${"0".repeat(24)}`;

const job = {
  id: JOB,
  state: "succeeded",
  model: "tiny",
  trainingFile: FILE,
  parameters: { rank: 4, targetModules: ["q_proj"] },
  created: 1,
  trainedModel: "ft:tiny:graft:00000000",
};
const file = { id: FILE, filename: "rows.jsonl", bytes: 3, purpose: "fine-tune", created: 1 };

/** A record cut short, of another kind, and with each field of another kind or missing. */
function damaged(record: Readonly<Record<string, unknown>>): string[] {
  const whole = JSON.stringify(record);
  return [
    "",
    ...[1, 0.5].map((share) => whole.slice(0, Math.floor(share * (whole.length - 1)))),
    ...["null", "[]", "7", '"x"', "{}", "\0".repeat(whole.length)],
    ...Object.keys(record).flatMap((key) => [
      JSON.stringify({ ...record, [key]: undefined }),
      JSON.stringify({ ...record, [key]: null }),
      JSON.stringify({ ...record, [key]: true }),
    ]),
  ];
}

function write(path: string, text: string): void {
  Deno.mkdirSync(join(path, ".."), { recursive: true });
  Deno.writeTextFileSync(path, text);
}

Deno.test("Jobs passes over a job whose record is damaged, says which, and opens the others", () =>
  inTempDir((folder) => {
    const other = JOB.replace("0", "1");
    write(join(folder, other, "job.json"), JSON.stringify({ ...job, id: other }));
    const path = join(folder, JOB, "job.json");
    const opened = () => {
      const told: string[] = [];
      const options = { folder, onDamaged: (problem: string) => told.push(problem) };
      const jobs = new Jobs(options as unknown as ConstructorParameters<typeof Jobs>[0]);
      return { ids: jobs.list().map(({ id }) => id), told };
    };
    for (const text of [...damaged(job), JSON.stringify({ ...job, id: other })]) {
      write(path, text);
      const { ids, told } = opened();
      // What may be missing is no damage.
      const isWhole = text === JSON.stringify({ ...job, trainedModel: undefined });
      assertEquals(ids, isWhole ? [JOB, other] : [other], text);
      assertEquals(told, isWhole ? [] : [`${path} is damaged: remove its folder`], text);
    }
    write(path, JSON.stringify(job));
    assertEquals(opened(), { ids: [JOB, other], told: [] });
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    const { ids, told } = opened();
    assertEquals(ids, [other]);
    assertStringIncludes(told.join(), "not a regular file");
  }));

Deno.test("FileStore passes over an upload that is damaged, says which, and has the others", () =>
  inTempDir((folder) => {
    const { id: other } = new FileStore(folder, () => {}).add("x", "fine-tune", new Uint8Array(3));
    const [path, content] = ["file.json", "content"].map((name) => join(folder, FILE, name));
    const isPassedOver = (problem: string, which: string) => {
      const told: string[] = [];
      const files = new FileStore(folder, (problem) => told.push(problem));
      assertEquals(files.list().map(({ id }) => id), [other], which);
      assertEquals(files.get(FILE), undefined);
      assertEquals(told, [problem], which);
    };
    write(content, "abc");
    for (const text of damaged(file)) {
      write(path, text);
      isPassedOver(`${path} is damaged: remove its folder`, text);
    }
    write(path, JSON.stringify(file));
    const files = new FileStore(folder, () => {});
    assertEquals(files.get(FILE), file);
    assertEquals(new TextDecoder().decode(files.content(file)), "abc");
    for (const text of ["", "ab", "abcd"]) {
      write(content, text);
      isPassedOver(`${content} is missing or damaged: remove its folder`, text);
    }
    Deno.removeSync(content);
    isPassedOver(`${content} is missing or damaged: remove its folder`, "none");
  }));

Deno.test("certifiedGainKept() of a damaged certificate is that of none", () =>
  inTempDir((folder) => {
    const certificate = { method: "round", candidates: [{ method: "round", gain_kept: 0.99 }] };
    for (const text of damaged(certificate)) {
      write(join(folder, "certificate.json"), text);
      assertEquals(certifiedGainKept(folder), undefined, text);
    }
    write(join(folder, "certificate.json"), JSON.stringify(certificate));
    assertEquals(certifiedGainKept(folder), 0.99);
  }));
