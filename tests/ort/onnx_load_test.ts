// PROMISES 12, for the data files that an ONNX model names.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import type { OpenFile } from "../../src/model/external_data.ts";
import { PLACEMENTS, REFUSED } from "../helpers/external_models.ts";
import { fileOf } from "../helpers/onnx_messages.ts";
import { testWithTool } from "../helpers/requirements.ts";
import { STRACE } from "../helpers/strace_command.ts";

interface Folders extends AsyncDisposable {
  /** The model's folder, with everything in it that could lead out. */
  readonly model: string;
  readonly root: string;
}

async function folders(): Promise<Folders> {
  const root = await Deno.makeTempDir();
  const model = `${root}/model`;
  await Deno.mkdir(`${model}/sub`, { recursive: true });
  await Deno.mkdir(`${root}/model-other`);
  const numbers = new Uint8Array(Float32Array.of(3, 4, 5, 6).buffer);
  for (const path of ["secret", "model-other/secret", "model/good", "model/sub/good"]) {
    await Deno.writeFile(`${root}/${path}`, numbers);
  }
  const links: [string, string][] = [
    ["../secret", "link"],
    [`${root}/secret`, "absolute-link"],
    ["link", "link-to-link"],
    ["..", "up"],
    ["../model-other", "other"],
    ["/dev/zero", "zero"],
    ["/proc/self/environ", "environ"],
    ["nowhere", "dangling"],
    ["loop", "loop"],
    ["good", "inner-link"],
  ];
  for (const [target, name] of links) await Deno.symlink(target, `${model}/${name}`);
  await Deno.link(`${root}/secret`, `${model}/hard`);
  const { success } = await new Deno.Command("mkfifo", { args: [`${model}/pipe`] }).output();
  assert(success);
  // Open until the end: with the listener the socket's file goes.
  const socket = Deno.listen({ transport: "unix", path: `${model}/socket` });
  return {
    model,
    root,
    [Symbol.asyncDispose]() {
      socket.close();
      return Deno.remove(root, { recursive: true });
    },
  };
}

for (const [placement, modelWith] of Object.entries(PLACEMENTS)) {
  Deno.test(`loadOnnx() refuses ${REFUSED.length} ways out of the folder in: ${placement}`, async () => {
    await using where = await folders();
    const path = `${where.model}/model.onnx`;
    for (const pattern of REFUSED) {
      const location = pattern.replaceAll("ROOT", where.root);
      await Deno.writeFile(path, fileOf(modelWith(location)));
      const opened: string[] = [];
      const open = (path: string): OpenFile => {
        opened.push(path);
        return { bytes: Deno.readFileSync(path), [Symbol.dispose]() {} };
      };
      assertThrows(() => loadOnnx(path, open), BadInputError, path);
      assertEquals(opened, [path], `opened for ${JSON.stringify(location)}`);
    }
  });

  Deno.test(`loadOnnx() reads files of the folder in: ${placement}`, async () => {
    await using where = await folders();
    const path = `${where.model}/model.onnx`;
    for (const location of ["good", "./good", "sub/good", "inner-link", "sub//good"]) {
      await Deno.writeFile(path, fileOf(modelWith(location)));
      using loaded = loadOnnx(path);
      assertEquals(loaded.files.length, 2);
      assertEquals(loaded.sizeBytes, Deno.statSync(path).size + 16);
    }
  });
}

Deno.test("loadOnnx() follows a Hugging Face cache's links into its blobs, and into no others", async () => {
  await using where = await folders();
  const repository = `${where.root}/hub/models--org--name`;
  const snapshot = `${repository}/snapshots/0123abcd/onnx`;
  await Deno.mkdir(`${repository}/blobs`, { recursive: true });
  await Deno.mkdir(snapshot, { recursive: true });
  await Deno.mkdir(`${where.root}/hub/models--org--other/blobs`, { recursive: true });
  await Deno.copyFile(`${where.model}/good`, `${repository}/blobs/d1`);
  await Deno.copyFile(`${where.model}/good`, `${where.root}/hub/models--org--other/blobs/d2`);
  const link = async (target: string) => {
    await Deno.remove(`${snapshot}/weights`).catch(() => {});
    await Deno.symlink(target, `${snapshot}/weights`);
  };
  await Deno.writeFile(`${repository}/blobs/m`, fileOf(PLACEMENTS.initializer("weights")));
  await Deno.symlink("../../../blobs/m", `${snapshot}/model.onnx`);
  await link("../../../blobs/d1");
  {
    using loaded = loadOnnx(`${snapshot}/model.onnx`);
    assertEquals(Array.from(toNumbers(loaded.model.graph.initializers.get("v")!)), [3, 4]);
    assertEquals(loaded.files, [`${repository}/blobs/m`, `${repository}/blobs/d1`]);
  }
  for (
    const target of [
      "../../../../models--org--other/blobs/d2",
      "../../../../../secret",
      "../../../blobs",
    ]
  ) {
    await link(target);
    assertThrows(() => loadOnnx(`${snapshot}/model.onnx`), BadInputError, '"weights"');
  }
});

Deno.test("loadOnnx() names the file, the tensor and the data's end when data is cut off", async () => {
  await using where = await folders();
  await Deno.writeFile(`${where.model}/short`, new Uint8Array(7));
  await Deno.writeFile(`${where.model}/model.onnx`, fileOf(PLACEMENTS.initializer("short")));
  assertThrows(
    () => loadOnnx(`${where.model}/model.onnx`),
    BadInputError,
    '"v": bytes 0 to 8 pass the end of "short", which has 7',
  );
});

Deno.test("loadOnnx() refuses a model path that is missing, a folder or a pipe", async () => {
  await using where = await folders();
  for (const name of ["missing.onnx", "sub", "pipe", "zero"]) {
    assertThrows(() => loadOnnx(`${where.model}/${name}`), BadInputError, `${where.model}/${name}`);
  }
});

Deno.test("loadOnnx() closes its files when it is disposed of and when it fails", async () => {
  await using where = await folders();
  const path = `${where.model}/model.onnx`;
  let open = 0;
  const counting = (path: string): OpenFile => {
    open++;
    return { bytes: Deno.readFileSync(path), [Symbol.dispose]: () => open-- };
  };
  await Deno.writeFile(path, fileOf(PLACEMENTS.initializer("good")));
  {
    using _loaded = loadOnnx(path, counting);
    assertEquals(open, 2);
  }
  assertEquals(open, 0);
  await Deno.writeFile(path, fileOf(PLACEMENTS.attribute("missing")));
  await assertRejects(() => Promise.try(() => loadOnnx(path, counting)), BadInputError);
  assertEquals(open, 0);
});

testWithTool("strace", "loadOnnx() opens nothing outside the folder, says the kernel", async () => {
  await using where = await folders();
  const paths = REFUSED.map((location, i) => {
    const path = `${where.model}/${i}.onnx`;
    const file = fileOf(PLACEMENTS.attribute(location.replaceAll("ROOT", where.root)));
    Deno.writeFileSync(path, file);
    return path;
  });
  const log = `${where.root}/strace.log`;
  const child = new URL("../helpers/load_child.ts", import.meta.url).pathname;
  const [strace, ...follow] = STRACE;
  const { success, stdout } = await new Deno.Command(strace, {
    args: [...follow, "-e", "trace=open,openat,openat2", "-o", log, Deno.execPath(), "run", "-A"]
      .concat(child, paths),
  }).output();
  assert(success);
  assertEquals(new TextDecoder().decode(stdout).trim(), `${REFUSED.length} refused`);
  const opened = [...Deno.readTextFileSync(log).matchAll(/open(?:at2?)?\([^"]*"([^"]*)"/g)]
    .map(([, path]) => path);
  assert(paths.every((path) => opened.includes(path)), "the log must show what was opened");
  const places = [where.root, "/dev/zero", "/proc/self/environ", "/etc/passwd"];
  const outside = opened.filter((path) =>
    places.some((place) => path.startsWith(place)) && !paths.includes(path)
  );
  assertEquals(outside, []);
});
