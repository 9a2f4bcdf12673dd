/** Requests to the server that the page came from, with the key if there is one. */
import { EventParser } from "./event_parser.js";

const KEY = "graft.key";

/** A request that was answered with an error. */
export class ApiFailure extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {string | null} [code]
   */
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Keeps a key for further requests, until the window is closed.
 *
 * @param {string | undefined} key
 */
export function keepKey(key) {
  if (key === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

/** Whether requests are sent with a key. */
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** @type {() => void} */
let onRefused = () => {};

/**
 * @param {() => void} listener told when a request was refused for its key
 */
export function whenRefused(listener) {
  onRefused = listener;
}

/**
 * @param {string} path from the page's address, without a slash at the beginning
 * @param {RequestInit} [init]
 * @returns {Promise<Response>} one that is no error
 * @throws {ApiFailure}
 */
async function request(path, init = {}) {
  const headers = new Headers(init.headers);
  const key = sessionStorage.getItem(KEY);
  if (key !== null) headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(new URL(path, document.baseURI), { ...init, headers });
  if (response.ok) return response;
  if (response.status === 401) onRefused();
  const body = await response.json().catch(() => undefined);
  throw new ApiFailure(
    response.status,
    body?.error?.message ?? `The server answered with status ${response.status}`,
    body?.error?.code,
  );
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function getJson(path, signal) {
  return await (await request(path, { signal })).json();
}

/** @param {string} path */
export async function getText(path) {
  return await (await request(path)).text();
}

/**
 * @param {string} path
 * @param {unknown} [body] absent: none
 * @param {AbortSignal} [signal]
 */
function post(path, body, signal) {
  return request(path, {
    method: "POST",
    signal,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
}

/**
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function postJson(path, body) {
  return await (await post(path, body)).json();
}

/**
 * The events of an answer in pieces.
 *
 * @param {string} path
 * @param {unknown} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 * @throws {ApiFailure} also for an error in the middle of the answer
 */
export async function* postForEvents(path, body, signal) {
  const response = await post(path, body, signal);
  const parser = new EventParser();
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const data of parser.push(decoder.decode(value, { stream: true }))) {
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ApiFailure(500, event.error.message, event.error.code);
      yield event;
    }
  }
}

/**
 * Uploads rows to train on.
 *
 * @param {string} name
 * @param {string} content
 * @returns {Promise<{ id: string }>}
 */
export async function uploadFile(name, content) {
  const form = new FormData();
  form.set("purpose", "fine-tune");
  form.set("file", new File([content], name, { type: "application/jsonl" }));
  return await (await request("v1/files", { method: "POST", body: form })).json();
}
