/** `graft serve` in a process of its own. */
import { takesSockets } from "../../src/http/listen.ts";
import { startGraftWith, startTidyGraft, startTidySource } from "./graft.ts";

const ADDRESS = /http:\/\/127\.0\.0\.1:\d+/;

/**
 * Whether graft is a program that was compiled with a Deno whose `node:http` has no time-outs, takes no
 * sockets, and closes a connection whose body is refused.
 */
export function hasOldHttp(): boolean {
  const binary = Deno.env.get("GRAFT_BINARY");
  if (binary === undefined) return false;
  const { stdout } = new Deno.Command(binary, { args: ["--version"] }).outputSync();
  const [, version] = /^Deno ([\d.]+)/m.exec(new TextDecoder().decode(stdout)) ?? [];
  return !takesSockets(version);
}

export interface Serving {
  readonly child: Deno.ChildProcess;
  /** All that it writes to standard error, once it has ended. */
  readonly stderr: Promise<string>;
  /** Without a slash at the end. */
  readonly url: string;
}

/** Starts it on a free port, as users do, who have its garbage collected; resolves once it answers. */
export function serving(...args: string[]): Promise<Serving> {
  return answering(startTidyGraft("serve", "--port", "0", ...args));
}

/** Starts it with more environment, and leaves its garbage: where its memory is not what is tested. */
export function servingWith(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<Serving> {
  return answering(startGraftWith(env, "serve", "--port", "0", ...args));
}

/** As {@linkcode serving}, but of the source if the program's `node:http` has no time-outs. */
export function servingWithTimeouts(...args: string[]): Promise<Serving> {
  const start = hasOldHttp() ? startTidySource : startTidyGraft;
  return answering(start("serve", "--port", "0", ...args));
}

async function answering(child: Deno.ChildProcess): Promise<Serving> {
  const stderr = new Response(child.stderr).text();
  let stdout = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += piece;
    const [url] = ADDRESS.exec(stdout) ?? [];
    if (url !== undefined) return { child, stderr, url };
  }
  throw new Error(`It does not answer: ${await stderr}`);
}
