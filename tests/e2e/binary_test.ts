/** The compiled binary, alone: an empty folder, no checkout, no variables of the environment. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { VERSION } from "../../mod.ts";
import { filesIn } from "../helpers/files_in.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import {
  arm64Binary,
  type Binary,
  ownBinary,
  printed,
  runAlone,
  type RunOptions,
} from "../helpers/binary.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { pngSize } from "../helpers/png_pixels.ts";
import { testNeeding, toolMissing } from "../helpers/requirements.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const missing = typeof ownBinary === "string" ? ownBinary : undefined;
const binary = ownBinary as Binary;

interface Place {
  readonly folder: string;
  readonly cache: string;
  readonly options: RunOptions;
}

function test(title: string, body: (place: Place) => Promise<void>, needs = missing): void {
  testNeeding(needs, "GRAFT_REQUIRE_TOOLS", title, () =>
    inTempDir(async (folder) => {
      const cache = join(folder, "cache");
      await body({ folder, cache, options: { cwd: folder, env: { GRAFT_CACHE_DIR: cache } } });
    }));
}

const EMBED = ["run", "default", "turn on the light", "--threads=1"];

/** Checks what {@linkcode EMBED} prints. */
function checkVector(stdout: string): void {
  const vector: number[] = JSON.parse(stdout);
  assertEquals(vector.length, 384);
  const norm = Math.hypot(...vector);
  assert(Math.abs(norm - 1) < 1e-5, `${norm}`);
}

async function sha256(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}

test("the binary tells its version, commit, Deno, ONNX Runtime and providers", async ({ options }) => {
  const [own, deno, ort] = (await printed(binary, ["--version"], options)).split("\n");
  assertMatch(own, new RegExp(`^graft ${VERSION} \\(commit [0-9a-f]{12}\\+?\\)$`));
  assertMatch(deno, /^Deno \d+\.\d+\.\d+, \w+-unknown-linux-gnu$/);
  assertMatch(ort, /^ONNX Runtime 1\.\d+\.\d+: .*CPUExecutionProvider$/);
});

test("the binary's library is unpacked once, under its digest", async ({ cache, options }) => {
  checkVector(await printed(binary, EMBED, options));
  const [file, ...more] = filesIn(join(cache, "unpacked"));
  assertEquals(more, []);
  const path = join(cache, "unpacked", file);
  assertEquals((await sha256(path)).slice(0, 32), file.split("/")[0]);
  const { ino } = Deno.statSync(path);
  checkVector(await printed(binary, EMBED, options));
  assertEquals(Deno.statSync(path).ino, ino);
});

test("a copy that is no whole one is made again, and what a kill left goes", async ({ cache, options }) => {
  await printed(binary, ["--version"], options);
  const [file] = filesIn(join(cache, "unpacked"));
  const path = join(cache, "unpacked", file);
  const { size } = Deno.statSync(path);
  Deno.truncateSync(path, 1000);
  Deno.writeTextFileSync(join(path, "..", ".unfinished-x"), "half");
  checkVector(await printed(binary, EMBED, options));
  assertEquals(filesIn(join(cache, "unpacked")), [file]);
  assertEquals(Deno.statSync(path).size, size);
});

test("another release's copy of the library goes where no process uses it", async ({ cache, options }) => {
  const old = join(cache, "unpacked", "0".repeat(32));
  Deno.mkdirSync(old, { recursive: true });
  Deno.writeTextFileSync(join(old, "libonnxruntime.so.1"), "old");
  checkVector(await printed(binary, EMBED, options));
  const copies = filesIn(join(cache, "unpacked"));
  assertEquals([copies.length, copies.includes(`${"0".repeat(32)}/libonnxruntime.so.1`)], [
    1,
    false,
  ]);
});

test("binaries that start at once all work, with one copy", async ({ cache, options }) => {
  const all = Array.from({ length: 4 }, () => printed(binary, EMBED, options));
  (await Promise.all(all)).forEach(checkVector);
  assertEquals(filesIn(join(cache, "unpacked")).length, 1);
});

test("a cache folder that cannot be made costs memory and a note", async ({ folder }) => {
  const cache = join(folder, "file", "cache");
  Deno.writeTextFileSync(join(folder, "file"), "");
  const env = { GRAFT_CACHE_DIR: cache };
  const { code, stdout, stderr } = await runAlone([...binary.words, ...EMBED], { env });
  assertEquals(code, 0, stderr);
  checkVector(stdout);
  assertMatch(stderr, /cannot be kept in .*file\/cache \(.*\): it takes \d+ MB of memory instead/);
  assertMatch(stderr, /GRAFT_CACHE_DIR names a folder/);
});

for (
  const [title, mount] of [
    ["a full disk", "size=4m"],
    ["a disk whose files may not be executed", "noexec,size=200m"],
    ["a disk that may not be written to", "ro,size=200m"],
  ]
) {
  const needs = missing ?? toolMissing("unshare", ["-rm", "true"]);
  test(`${title} costs memory and a note, and keeps no half copy`, async ({ folder, cache }) => {
    await Deno.mkdir(cache);
    const script = `mount -t tmpfs -o ${mount} none "$GRAFT_CACHE_DIR" && ` +
      `"$@" && find "$GRAFT_CACHE_DIR" -name '.unfinished*'`;
    const words = ["unshare", "-rm", "sh", "-c", script, "sh", ...binary.words, ...EMBED];
    const env = { GRAFT_CACHE_DIR: cache };
    const { code, stdout, stderr } = await runAlone(words, { cwd: folder, env });
    assertEquals(code, 0, stderr);
    checkVector(stdout);
    assertMatch(stderr, /it takes \d+ MB of memory instead; GRAFT_CACHE_DIR names a folder/);
  }, needs);
}

test("without a home the binary runs from memory", async () => {
  const { code, stdout, stderr } = await runAlone([...binary.words, ...EMBED], {});
  assertEquals(code, 0, stderr);
  checkVector(stdout);
  assertMatch(stderr, /neither HOME nor XDG_CACHE_HOME is set/);
});

test("a folder of the name comes before the model that the binary carries", async ({ folder, options }) => {
  await Deno.mkdir(join(folder, "default"));
  const { code, stderr } = await runAlone([...binary.words, ...EMBED], options);
  assertEquals(code, 65, stderr);
  assertMatch(stderr, /Cannot load model "default": the folder has no \.onnx file/);
});

test("messages call what the binary carries by its name", async ({ options }) => {
  const words = [...binary.words, "eval", "default", "--data", "quickstart"];
  const { code, stderr } = await runAlone(words, options);
  assertEquals(code, 2, stderr);
  assertMatch(stderr, /^graft: Cannot evaluate default\/model\.onnx: /);
});

test("the binary has named permissions: the kernel's files are closed to data", async ({ options }) => {
  const words = [...binary.words, "train", "--config", "/proc/version"];
  const { code, stderr } = await runAlone(words, options);
  assertEquals(code, 74, stderr);
  assertMatch(stderr, /Cannot read \/proc\/version: Requires all access/);
});

test("the binary prints the licences of what is in it", async ({ options }) => {
  const text = await printed(binary, ["licenses"], options);
  const carried = [
    ...["Apache License", "onnxruntime-node", "deno-std", "MIT License"],
    ...["@resvg/resvg-wasm", "Bitstream Vera Fonts Copyright", "rustybuzz: MIT", "MPL-2.0"],
  ];
  // Crates that the runtime names, one that its lockfile alone has, and what is inside of some.
  const inRuntime = [
    "deno_core: MIT",
    "serde_json: ",
    "itoa: MIT OR Apache-2.0",
    "V8, in the crate v8: BSD-3-Clause",
    "libffi, in the crate libffi-sys: MIT",
  ];
  // Of what is in ONNX Runtime's library, as Microsoft lists it.
  const inLibrary = ["THIRD PARTY SOFTWARE NOTICES", "protobuf", "abseil-cpp", "flatbuffers"];
  for (const expected of [...carried, ...inRuntime, ...inLibrary]) {
    assert(text.includes(expected), expected);
  }
});

test("the binary draws the pictures of a report", async ({ folder, options }) => {
  const model = "tiny-llama-genai-int4";
  saveRandomAdapter(join(folder, "lamp"), model, { seed: 1 });
  const report = join(folder, "report");
  const words = ["analyze", "--model", modelDir(model), "--adapter-path", "lamp"];
  await printed(binary, [...words, "--report", report, "--layers", "1"], options);
  const names = filesIn(report).filter((name) => name.endsWith(".png"));
  assertEquals(names, [
    "drift-by-layer.png",
    "singular-values-model.layers.1.self_attn.q_proj.png",
    "singular-values-model.layers.1.self_attn.v_proj.png",
  ]);
  for (const name of names) {
    const [width] = pngSize(Deno.readFileSync(join(report, name)));
    assert(width > 1000, `${name}: ${width}`);
  }
});

test("SHA256SUMS and the bills of materials name the binaries", async () => {
  const both = [binary.path, ...typeof arm64Binary === "string" ? [] : [arm64Binary.path]];
  for (const path of both) await checkBill(path);
});

async function checkBill(path: string): Promise<void> {
  const [folder, name] = [join(path, ".."), path.split("/").at(-1)!];
  const digest = await sha256(path);
  const sums = await Deno.readTextFile(join(folder, "SHA256SUMS"));
  assert(sums.split("\n").includes(`${digest}  ${name}`), sums);
  const bill = JSON.parse(await Deno.readTextFile(join(folder, `${name}.cdx.json`)));
  assertEquals(bill.metadata.component.hashes, [{ alg: "SHA-256", content: digest }]);
  const names = bill.components.map(({ name }: { name: string }) => name);
  const unlicensed = bill.components.filter(({ licenses }: { licenses?: unknown }) => !licenses);
  assertEquals(unlicensed, []); // a new runtime has new crates: scripts/runtime_crates.py
  for (
    const part of [
      ...["onnxruntime", "all-minilm-l6-v2-int8", "@huggingface/tokenizers", "deno_core"],
      ...["@resvg/resvg-wasm", "dejavu-fonts-ttf", "rustybuzz"],
    ]
  ) {
    assert(names.includes(part), `${names}`);
  }
  assert(!names.includes("fast-check"), "it is for tests only");
}
