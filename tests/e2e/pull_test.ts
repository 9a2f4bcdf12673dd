import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { withEnvironment } from "../helpers/environment.ts";
import { FakeHub, stalledResponse } from "../helpers/fake_hub.ts";
import { modelDir, referenceDir } from "../helpers/fixture_models.ts";
import {
  graft,
  graftProcess,
  type GraftResult,
  graftSignalled,
  graftUnder,
} from "../helpers/graft.ts";
import { filesIn } from "../helpers/files_in.ts";
import { noise } from "../helpers/hub_pull.ts";
import { testWithPython, testWithTool } from "../helpers/requirements.ts";
import { runPython } from "../helpers/run_python.ts";
import { STRACE } from "../helpers/strace_command.ts";

const LLAMA = modelDir("tiny-llama-genai-int4");

/** A language model's files as repositories for the web have them, in two forms. */
function webModel(): Record<string, Uint8Array<ArrayBuffer>> {
  const read = (name: string) => Deno.readFileSync(join(LLAMA, name));
  return {
    "README.md": noise(50),
    "tokenizer.json": read("tokenizer.json"),
    "tokenizer_config.json": read("tokenizer_config.json"),
    "chat_template.jinja": read("chat_template.jinja"),
    "generation_config.json": new TextEncoder().encode('{"max_length": 64}'),
    "onnx/model_q4.onnx": read("model.onnx"),
    "onnx/model.onnx.data": read("model.onnx.data"),
    "onnx/model_fp16.onnx": noise(4000),
  };
}

/** Runs with a hub, and folders of the test's own for what is pulled; children inherit them. */
async function withHub(body: (hub: FakeHub, root: string) => Promise<void>): Promise<void> {
  await using hub = new FakeHub();
  const root = Deno.makeTempDirSync({ prefix: "graft-pull-" });
  const variables: Record<string, string> = {
    HF_ENDPOINT: hub.endpoint,
    HF_HOME: join(root, "hf"),
    GRAFT_HOME: join(root, "graft"),
    HF_TOKEN: "hf_secret",
    HF_HUB_OFFLINE: "0",
    // Deno would ask for its own newest release.
    DENO_NO_UPDATE_CHECK: "1",
  };
  try {
    await withEnvironment(variables, async () => {
      hub.add("org/tiny", webModel());
      await body(hub, root);
    });
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}

/** Runs `graft` with a pulled model: the process spares it from `graft rm` for as long as it lives. */
const graftWithPulled = graftProcess;

function done({ code, stdout, stderr }: GraftResult): string {
  assertEquals(code, 0, stderr);
  return stdout;
}

Deno.test("graft pull names what it took, and every verb takes the name from then on, offline", () =>
  withHub(async (hub, root) => {
    const { code, stderr } = await graft("pull", "org/tiny");
    assertEquals(code, 0, stderr);
    assertStringIncludes(stderr, "Variant q4 (onnx/model_q4.onnx); --variant takes another: fp16");
    assertStringIncludes(stderr, "onnx/model.onnx.data: 215 kB, verified");
    assert(!stderr.includes("hf_secret"));

    Deno.env.set("HF_HUB_OFFLINE", "1");
    hub.seen.length = 0;
    const again = JSON.parse(done(await graft("pull", "org/tiny", "--json")));
    assertEquals([again.variant, again.downloaded_bytes], ["q4", 0]);
    const data = join(root, "pairs.jsonl");
    Deno.writeTextFileSync(data, '{"prompt": "my card", "completion": "is lost"}\n');
    const adapters = join(root, "adapters");
    const train = ["train", "--model", "org/tiny", "--data", data, "--iters", "1"];
    assertStringIncludes(
      done(await graftWithPulled(...train, "--adapter-path", adapters, "--save-as", "mill")),
      "Kept in graft's store as mill, sha256:",
    );
    const raw = ["--raw", "-n", "3", "my card"];
    const plain = done(await graft("run", LLAMA, ...raw));
    assertEquals(done(await graftWithPulled("run", "org/tiny:q4", ...raw)), plain);
    done(await graftWithPulled("run", "org/tiny", "--adapter-path", "mill", ...raw));
    done(await graftWithPulled("eval", "org/tiny", "--adapter-path", "mill", "--data", data));
    done(await graftWithPulled("inspect", "org/tiny"));
    const merged = join(root, "merged");
    done(
      await graftWithPulled(
        ...["merge", "--model", "org/tiny", "--adapter-path", "mill", "--save-path", merged],
        ...["--no-latency", "--force"],
      ),
    );
    // The tokenizer comes from above the folder `onnx`, the other model does not come along.
    const files = filesIn(merged);
    assert(files.includes("tokenizer.json") && files.includes("model_q4.onnx"), String(files));
    assert(!files.includes("model_fp16.onnx"), String(files));
    done(await graft("run", merged, ...raw));
    assertEquals(hub.seen, []);

    const next = ["--adapter-path", join(root, "next"), "--save-as", "mill2"];
    done(await graftWithPulled(...train, "--resume-adapter-file", "mill", ...next));
    const { adapters: [mill, mill2], models } = JSON.parse(done(await graft("list", "--json")));
    assertEquals(models.map(({ name }: { name: string }) => name), ["org/tiny"]);
    assertEquals(mill2.parents, [mill.digest]);
    assertEquals([mill.base, mill.task, mill.metrics.step], ["org/tiny", "causal", 1]);
    assert(
      /^sha256:[0-9a-f]{64}$/.test(mill.base_digest) && mill.base_digest === mill2.base_digest,
    );
    assertEquals(mill.data_digest, mill2.data_digest);
    assertStringIncludes(done(await graft("show", "mill2")), mill.digest);
    assertStringIncludes(done(await graft("show", "org/tiny")), "onnx/model_q4.onnx");
    done(await graft("rm", "mill"));
    done(await graft("rm", "org/tiny"));
    const left = JSON.parse(done(await graft("list", "--json")));
    assertEquals([left.models.length, left.adapters.length], [0, 1]);
    const gone = await graft("run", "org/tiny", ...raw);
    assertEquals(gone.code, EXIT.badInput);
    assertStringIncludes(gone.stderr, "`graft pull` gets one");
    const offline = await graft("pull", "org/tiny");
    assertEquals(offline.code, EXIT.tryAgain);
    assertStringIncludes(offline.stderr, "HF_HUB_OFFLINE");
  }));

Deno.test("graft pull ended by Ctrl-C shows nothing and is gone on with", () =>
  withHub(async (hub, root) => {
    hub.fault = ({ host, path }, content) =>
      host === "content" && path.endsWith("model.onnx.data")
        ? stalledResponse(content!.body, 100_000)
        : undefined;
    const { code, stderr } = await graftSignalled(
      /model_q4\.onnx: .*verified/,
      "SIGINT",
      "pull",
      "org/tiny",
    );
    assertEquals(code, EXIT.interrupted, stderr);
    assertStringIncludes(stderr, "Stopped by SIGINT");
    const place = join(root, "hf/hub/models--org--tiny");
    assertEquals(filesIn(join(place, "snapshots")), []);
    const before = await graft("run", "org/tiny", "x");
    assertEquals(before.code, EXIT.badInput);

    hub.fault = () => undefined;
    hub.seen.length = 0;
    done(await graft("pull", "org/tiny"));
    const gotten = hub.requestsTo("content").map(({ path }) => path.split("/").at(-1));
    assertEquals(gotten, ["model.onnx.data"]);
    assertEquals(filesIn(join(place, "snapshots")).length, 6);
  }));

Deno.test("graft pull in two processes at once gets each file once", () =>
  withHub(async (hub) => {
    hub.fault = async ({ host }) => {
      if (host === "content") await new Promise((resolve) => setTimeout(resolve, 300));
      return undefined as never;
    };
    const both = await Promise.all([1, 2].map(() => graftProcess("pull", "org/tiny")));
    both.forEach(done);
    const paths = hub.requestsTo("content").map(({ path }) => path);
    assertEquals(paths.length, new Set(paths).size);
  }));

Deno.test("graft rm spares a model that a process uses", () =>
  withHub(async () => {
    done(await graft("pull", "org/tiny"));
    // A verb would be done before it is looked at: this finds the model as they do, and stays.
    const held = new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        "--no-check",
        `const { findModelFile } = await import(${
          JSON.stringify(new URL("../../src/model/find_model.ts", import.meta.url).href)
        }); findModelFile("org/tiny"); console.log("held"); await new Promise((r) => setTimeout(r, 60000));`,
      ],
      stdout: "piped",
    }).spawn();
    const reader = held.stdout.getReader();
    await reader.read();
    const { code, stderr } = await graft("rm", "org/tiny");
    assertEquals(code, EXIT.refused);
    assertStringIncludes(stderr, "a process uses it");
    held.kill("SIGKILL");
    await reader.cancel();
    await held.status;
    done(await graft("rm", "org/tiny"));
  }));

Deno.test("graft pull takes models and adapters from folders and archives", () =>
  withHub(async (hub, root) => {
    const tar = join(root, "tiny.tar.gz");
    await new Deno.Command("tar", {
      args: ["-czf", tar, "-C", join(LLAMA, ".."), "tiny-llama-genai-int4"],
    })
      .output();
    done(await graft("pull", tar));
    done(await graft("pull", LLAMA, "--name", "mine/tiny"));
    const adapter = join(referenceDir("tiny-llama-int4.all"), "adapter_init");
    done(await graft("pull", adapter, "--name", "peft"));
    const raw = ["--raw", "-n", "3", "my card"];
    const plain = done(await graft("run", LLAMA, ...raw));
    assertEquals(done(await graft("run", "tiny", ...raw)), plain);
    assertEquals(done(await graft("run", "mine/tiny", ...raw)), plain);
    done(await graft("run", "tiny", "--adapter-path", "peft", ...raw));
    assertEquals(filesIn(join(root, "hf/hub")).filter((path) => path.includes(".unpacked")), []);
    assertEquals(hub.seen, []);
    const names = ["adapter_config.json", "adapter_model.safetensors"];
    hub.add("org/adapter", {
      ...Object.fromEntries(names.map((name) => [name, Deno.readFileSync(join(adapter, name))])),
      "optimizer.pt": noise(3000),
    });
    done(await graft("pull", "org/adapter"));
    done(await graft("run", "tiny", "--adapter-path", "org/adapter", ...raw));
    assert(hub.seen.every(({ path }) => !path.endsWith("optimizer.pt")));
    hub.add("tiny", webModel());
    const taken = await graft("pull", "tiny");
    assertEquals(taken.code, EXIT.usage);
    assertStringIncludes(taken.stderr, "graft rm tiny");
  }));

Deno.test("graft pull says what is wrong, with its exit code and without the token", () =>
  withHub(async (hub) => {
    const cases: [number, string, string[]][] = [
      [EXIT.usage, 'no variant "q2"', ["org/tiny", "--variant", "q2"]],
      [EXIT.badInput, "check its name", ["org/other"]],
      [EXIT.badInput, "check --revision", ["org/tiny@v9"]],
      [EXIT.usage, "--revision must be", ["org/tiny", "--revision", "../x"]],
      [EXIT.usage, "is no name of a model", ["a b"]],
      [EXIT.badInput, "no such file", ["./nowhere"]],
      [EXIT.usage, "--name is for folders", ["org/tiny", "--name", "x"]],
    ];
    for (const [code, words, args] of cases) {
      const result = await graft("pull", ...args);
      assertEquals(result.code, code, result.stderr);
      assertStringIncludes(result.stderr, words);
      assert(!result.stderr.includes("hf_secret"));
    }
    hub.token = "hf_other";
    const refused = await graft("pull", "org/tiny");
    assertEquals(refused.code, EXIT.access);
    assertStringIncludes(refused.stderr, "does not give access");
  }));

testWithTool(
  "strace",
  "graft pull connects to the hub and where it redirects, and other verbs nowhere",
  () =>
    withHub(async (hub, root) => {
      const trace = join(root, "trace");
      const strace = [...STRACE, "-qq", "-e", "trace=connect", "-o", trace];
      const ports = () => {
        const found = Deno.readTextFileSync(trace)
          .matchAll(/connect\(\d+, \{sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?"([^"]+)"/g);
        return [...new Set([...found].map(([, port, host]) => `http://${host}:${port}`))].sort();
      };
      done(await graftUnder(strace, "pull", "org/tiny"));
      assertEquals(ports(), [hub.endpoint, hub.contentOrigin].sort());
      done(await graftUnder(strace, "run", "org/tiny", "--raw", "-n", "2", "my card"));
      assertEquals(ports(), []);
    }),
);

testWithPython(
  ["huggingface_hub"],
  "huggingface_hub reads what graft pulled, and graft what it did",
  () =>
    withHub(async (hub, root) => {
      const commit = hub.repositories.get("org/tiny")!.refs.main;
      done(await graft("pull", "org/tiny"));
      const folder = join(root, "hf/hub/models--org--tiny/snapshots", commit);
      const read = await runPython(`
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
print(snapshot_download("org/tiny", local_files_only=True))
print(hf_hub_download("org/tiny", "onnx/model_q4.onnx", local_files_only=True))
info = scan_cache_dir()
print([str(w) for w in info.warnings], [(r.repo_id, r.nb_files, [x.refs == frozenset({"main"}) for x in r.revisions]) for r in info.repos])
`);
      assertEquals(read.split("\n"), [
        folder,
        join(folder, "onnx/model_q4.onnx"),
        "[] [('org/tiny', 6, [True])]",
      ]);
      done(await graft("rm", "org/tiny"));
      Deno.env.set("HF_HUB_DISABLE_XET", "1");
      await runPython(`
from huggingface_hub import hf_hub_download
for name in ["tokenizer.json", "onnx/model_q4.onnx", "onnx/model.onnx.data"]:
    hf_hub_download("org/tiny", name)
`);
      done(await graft("run", "org/tiny", "--raw", "-n", "2", "my card"));
      hub.seen.length = 0;
      done(await graft("pull", "org/tiny"));
      // What Python got is not gotten again.
      assertEquals(hub.requestsTo("content"), []);
    }),
);
