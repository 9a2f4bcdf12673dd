import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";
import { PAGE_FILES, PAGE_PACKAGES, readPageFiles } from "../../src/http/page_assets.ts";
import { serveTiny } from "../helpers/http_server.ts";
import { filesIn } from "../helpers/files_in.ts";

const FILES = readPageFiles(".");
const scripts = () => Object.entries(FILES).filter(([path]) => path.endsWith(".js"));

Deno.test("the page's table has every file of its folder, and each module that one of them imports", () => {
  const own = [...PAGE_FILES.values()].filter((file) => file.startsWith("src/"));
  const folder = "src/http/page";
  assertEquals(own.toSorted(), filesIn(folder).map((path) => `${folder}/${path}`).toSorted());
  const [, map] = /<script type="importmap">([\s\S]*?)<\/script>/.exec(FILES["/"])!;
  const { imports } = JSON.parse(map);
  for (const [, target] of FILES["/"].matchAll(/(?:href|src)="([^"]+)"/g)) {
    assert(`/${target}` in FILES, `the page asks for ${target}`);
  }
  let checked = 0;
  for (const [path, text] of scripts()) {
    for (const [, name] of text.matchAll(/(?:\bfrom|\bimport)\s*["']([\w./-]+)["']/g)) {
      assert(name.startsWith(".") || name in imports, `${path} imports ${name}`);
      const target = name.startsWith(".") ? join(dirname(path), name) : join("/", imports[name]);
      assert(target in FILES, `${path} imports ${name}`);
      checked++;
    }
  }
  assert(checked > 50, `${checked} imports`);
  assertEquals(PAGE_PACKAGES, ["preact", "htm", "uplot"]);
});

Deno.test("the page's own scripts never make markup of text", () => {
  const own = scripts().filter(([path]) => !path.startsWith("/page/lib/"));
  for (const [path, text] of own) {
    assertEquals(
      /innerHTML|outerHTML|insertAdjacentHTML|\beval\b|document\.write/.exec(text),
      null,
      path,
    );
    assert(text.split("\n").length <= 220, `${path} is long`);
  }
});

/** The variables of a block of the style sheet. */
const variables = (block: string) =>
  new Map(Array.from(block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g), ([, name, value]) => [
    name,
    value,
  ]));

/** The contrast of two colours. Source: WCAG 2.2, "contrast ratio" and "relative luminance". */
function contrast(a: string, b: string): number {
  const [lighter, darker] = [a, b].map((colour) => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const part = parseInt(colour.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }).sort((a, b) => b - a);
  return (lighter + 0.05) / (darker + 0.05);
}

Deno.test("the page's colours have the contrast that WCAG asks for (AA), light and dark", () => {
  const [light, dark] = FILES["/page/style/colours.css"].split("prefers-color-scheme: dark").map(
    variables,
  );
  for (const colours of [light, dark]) {
    assertEquals(colours.size >= 14, true);
    const check = (name: string, ground: string, least: number) => {
      const found = contrast(colours.get(name)!, colours.get(ground)!);
      assert(found >= least, `${name} on ${ground}: ${found.toFixed(2)}`);
    };
    for (const ground of ["ground", "surface", "soft"]) {
      for (const text of ["text", "quiet", "accent"]) check(text, ground, 4.5);
    }
    for (const ground of ["surface", "problem-soft"]) check("problem", ground, 4.5);
    check("accent-text", "accent", 4.5);
    for (const mark of ["edge", "curve-1", "curve-2", "curve-3"]) check(mark, "surface", 3);
    check("edge", "ground", 3);
  }
});

Deno.test("graft's page: its files are sent with their types and a policy that allows nothing else", async () => {
  await using server = await serveTiny(undefined, { page: true });
  const types: Record<string, string> = {
    js: "text/javascript; charset=utf-8",
    css: "text/css; charset=utf-8",
    svg: "image/svg+xml",
  };
  for (const [path, text] of Object.entries(FILES)) {
    const response = await fetch(server.url + path);
    assertEquals([response.status, await response.text()], [200, text], path);
    const { headers } = response;
    const extension = path.split(".").at(-1)!;
    assertEquals(headers.get("content-type"), types[extension] ?? "text/html; charset=utf-8");
    assertEquals(headers.get("x-content-type-options"), "nosniff");
    assertEquals(headers.get("referrer-policy"), "no-referrer");
    const policy = headers.get("content-security-policy")!;
    assert(policy.startsWith("default-src 'none'; script-src 'self' 'sha256-"), policy);
    assert(!/unsafe|\*|https?:|data:/.test(policy), policy);
    const known = await fetch(server.url + path, {
      headers: { "if-none-match": headers.get("etag")! },
    });
    assertEquals([known.status, await known.text()], [304, ""], path);
  }
  const [, map] = /<script type="importmap">([\s\S]*?)<\/script>/.exec(FILES["/"])!;
  const digest = new Uint8Array(
    await crypto.subtle.digest("SHA-256", new TextEncoder().encode(map)),
  );
  const page = await fetch(server.url);
  await page.body?.cancel();
  assert(page.headers.get("content-security-policy")!.includes(`'sha256-${digest.toBase64()}'`));
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert(/graft_requests_total\{route="\/",status="200"\} \d{2}/.test(metrics));
  assert(!metrics.includes("/page/"));
});

Deno.test("graft's page: only the paths of the table are answered, and none without a page", async () => {
  await using server = await serveTiny(undefined, { page: true });
  const statusOf = async (path: string, method = "GET") => {
    const response = await fetch(server.url + path, { method });
    await response.body?.cancel();
    return response.status;
  };
  for (
    const path of [
      "/page",
      "/page/",
      "/page/none.js",
      "/page/..%2foperations.ts",
      "/page/%2e%2e/page_assets.ts",
      "/page/lib/..%2fmain.js",
      "/page/main.js%00",
      "/index.html",
    ]
  ) {
    assertEquals(await statusOf(path), 404, path);
  }
  assertEquals([await statusOf("/", "HEAD"), await statusOf("/", "POST")], [200, 404]);
  await using bare = await serveTiny();
  const response = await fetch(bare.url);
  assertEquals((await response.json()).error.type, "not_found_error");
  const script = await fetch(`${bare.url}/page/main.js`);
  await script.body?.cancel();
  assertEquals(script.status, 404);
});

Deno.test("graft's API: /props says what the server can do, which the page shows", async () => {
  await using server = await serveTiny(undefined, { most: 7 });
  const props = await (await fetch(`${server.url}/props`)).json();
  assertEquals(props.features, {
    chat: true,
    adapters: false,
    adapter_loading: false,
    adapter_merging: false,
    fine_tuning: false,
  });
  assertEquals(props.max_concurrent_requests, 7);
});
