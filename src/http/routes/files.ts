/** `/v1/files`: what clients upload to fine-tune on. */
import type { Context } from "hono";
import type { StoredFile } from "../../jobs/file_store.ts";
import { ApiError } from "../api_error.ts";
import { bodyBytes } from "../parse_body.ts";
import { fineTuningOf, type Handler, type ServerParts } from "../server_parts.ts";

export function uploadFile(parts: ServerParts): Handler {
  return async (context) => {
    const { files, mostUploadBytes } = fineTuningOf(parts);
    const form = await formOf(context, mostUploadBytes);
    const [file, purpose] = [form.get("file"), form.get("purpose")];
    if (!(file instanceof File)) throw new ApiError(400, "The file is missing", { param: "file" });
    if (purpose !== "fine-tune") {
      throw new ApiError(400, "The purpose must be fine-tune", { param: "purpose" });
    }
    if (file.size === 0) throw new ApiError(400, "The file is empty", { param: "file" });
    // Only a name for people; never a path.
    const name = file.name.replace(/[^\w.-]/g, "_").slice(-128) || "file";
    return context.json(fileJson(files.add(name, purpose, await file.bytes())));
  };
}

async function formOf(context: Context, mostBytes: number): Promise<FormData> {
  const type = context.req.header("content-type") ?? "";
  if (!/^multipart\/form-data\b/i.test(type)) {
    throw new ApiError(415, "Send the file as multipart/form-data");
  }
  const body = await bodyBytes(context, mostBytes);
  try {
    return await new Response(body, { headers: { "content-type": type } }).formData();
  } catch {
    throw new ApiError(400, "The body is not a form");
  }
}

export function listFiles(parts: ServerParts): Handler {
  return (context) =>
    context.json({
      object: "list",
      data: fineTuningOf(parts).files.list().map(fileJson),
      has_more: false,
    });
}

export function getFile(parts: ServerParts): Handler {
  return (context) => context.json(fileJson(foundFile(parts, context)));
}

export function fileContent(parts: ServerParts): Handler {
  return (context) => {
    const content = fineTuningOf(parts).files.content(foundFile(parts, context));
    return new Response(content, { headers: { "content-type": "application/octet-stream" } });
  };
}

export function deleteFile(parts: ServerParts): Handler {
  return (context) => {
    const file = foundFile(parts, context);
    fineTuningOf(parts).files.remove(file);
    return context.json({ id: file.id, object: "file", deleted: true });
  };
}

function foundFile(parts: ServerParts, context: Context): StoredFile {
  const id = context.req.param("file") ?? "";
  const file = fineTuningOf(parts).files.get(id);
  if (file !== undefined) return file;
  throw new ApiError(404, `There is no file ${JSON.stringify(id)}`, { code: "file_not_found" });
}

const fileJson = ({ id, filename, bytes, purpose, created }: StoredFile) => ({
  id,
  object: "file",
  bytes,
  created_at: created,
  filename,
  purpose,
  status: "processed",
});
