/** All routes: what the server answers and what `/openapi.json` says of it. */
import type { GenericSchema } from "valibot";
import {
  listAdapters,
  listFolders,
  loadAdapter,
  rollBackAdapter,
  scaleAdapters,
  unloadAdapter,
} from "./routes/adapters.ts";
import { chatCompletions } from "./routes/chat.ts";
import { completions } from "./routes/completions.ts";
import { classify, embeddings } from "./routes/encoder_routes.ts";
import { deleteFile, fileContent, getFile, listFiles, uploadFile } from "./routes/files.ts";
import {
  cancelJob,
  createJob,
  getJob,
  jobCheckpoints,
  jobEvents,
  listJobs,
  pauseJob,
  resumeJob,
} from "./routes/fine_tuning.ts";
import { getModel, health, listModels, prometheus, props } from "./routes/status.ts";
import { adapterScales, changeAdapterRequest, loadAdapterRequest } from "./schemas/adapter.ts";
import { chatRequest } from "./schemas/chat.ts";
import { completionRequest } from "./schemas/completion.ts";
import { classificationRequest, embeddingRequest } from "./schemas/embedding.ts";
import { fineTuningRequest } from "./schemas/fine_tuning.ts";
import type { Handler, ServerParts } from "./server_parts.ts";

export interface Operation {
  readonly method: "get" | "post" | "delete";
  /** Parameters in hono's form, as `/v1/models/:model`. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** Schema of the JSON body. */
  readonly request?: GenericSchema;
  /** Whether the body is a form with a file. */
  readonly form?: boolean;
  /** Whether it is answered without a key. */
  readonly isOpen?: boolean;
  /** Media types of the answer; default JSON. */
  readonly answers?: readonly string[];
  handler(parts: ServerParts): Handler;
}

const EVENTS = ["application/json", "text/event-stream"];

export const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    id: "createChatCompletion",
    summary: "Answers the last message of a chat",
    request: chatRequest,
    answers: EVENTS,
    handler: chatCompletions,
  },
  {
    method: "post",
    path: "/v1/completions",
    id: "createCompletion",
    summary: "Continues texts",
    request: completionRequest,
    answers: EVENTS,
    handler: completions,
  },
  {
    method: "post",
    path: "/v1/embeddings",
    id: "createEmbedding",
    summary: "Vectors of texts",
    request: embeddingRequest,
    handler: embeddings,
  },
  {
    method: "post",
    path: "/v1/classify",
    id: "classify",
    summary: "Classes of texts with their probabilities",
    request: classificationRequest,
    handler: classify,
  },
  {
    method: "get",
    path: "/v1/models",
    id: "listModels",
    summary: "The models that requests may name",
    handler: listModels,
  },
  {
    method: "get",
    path: "/v1/models/:model",
    id: "retrieveModel",
    summary: "One model",
    handler: getModel,
  },
  {
    method: "post",
    path: "/v1/load_lora_adapter",
    id: "loadAdapter",
    summary: "Loads an adapter under a name, or replaces it",
    request: loadAdapterRequest,
    handler: loadAdapter,
  },
  {
    method: "post",
    path: "/v1/rollback_lora_adapter",
    id: "rollBackAdapter",
    summary: "Brings back what was replaced under a name",
    request: changeAdapterRequest,
    handler: rollBackAdapter,
  },
  {
    method: "post",
    path: "/v1/unload_lora_adapter",
    id: "unloadAdapter",
    summary: "Forgets an adapter",
    request: changeAdapterRequest,
    handler: unloadAdapter,
  },
  {
    method: "get",
    path: "/lora-adapters",
    id: "listAdapters",
    summary: "The adapters, with their scales in what requests for the base get",
    handler: listAdapters,
  },
  {
    method: "post",
    path: "/lora-adapters",
    id: "scaleAdapters",
    summary: "Sets the scales of adapters in what requests for the base get",
    request: adapterScales,
    handler: scaleAdapters,
  },
  {
    method: "get",
    path: "/lora-adapters/folders",
    id: "listAdapterFolders",
    summary: "Folders that can be loaded, the newest first",
    handler: listFolders,
  },
  {
    method: "post",
    path: "/v1/files",
    id: "uploadFile",
    summary: "Uploads rows to train on, as multipart/form-data: file, purpose",
    form: true,
    handler: uploadFile,
  },
  {
    method: "get",
    path: "/v1/files",
    id: "listFiles",
    summary: "Uploaded files, the newest first",
    handler: listFiles,
  },
  {
    method: "get",
    path: "/v1/files/:file",
    id: "retrieveFile",
    summary: "One uploaded file",
    handler: getFile,
  },
  {
    method: "get",
    path: "/v1/files/:file/content",
    id: "downloadFile",
    summary: "Its content",
    answers: ["application/octet-stream"],
    handler: fileContent,
  },
  {
    method: "delete",
    path: "/v1/files/:file",
    id: "deleteFile",
    summary: "Removes it; jobs keep what they train on",
    handler: deleteFile,
  },
  {
    method: "post",
    path: "/v1/fine_tuning/jobs",
    id: "createFineTuningJob",
    summary: "Trains an adapter on an uploaded file, after the jobs before it",
    request: fineTuningRequest,
    handler: createJob,
  },
  {
    method: "get",
    path: "/v1/fine_tuning/jobs",
    id: "listFineTuningJobs",
    summary: "Jobs, the newest first",
    handler: listJobs,
  },
  {
    method: "get",
    path: "/v1/fine_tuning/jobs/:job",
    id: "retrieveFineTuningJob",
    summary: "One job",
    handler: getJob,
  },
  {
    method: "post",
    path: "/v1/fine_tuning/jobs/:job/cancel",
    id: "cancelFineTuningJob",
    summary: "Ends it",
    handler: cancelJob,
  },
  {
    method: "post",
    path: "/v1/fine_tuning/jobs/:job/pause",
    id: "pauseFineTuningJob",
    summary: "Stops it after a checkpoint",
    handler: pauseJob,
  },
  {
    method: "post",
    path: "/v1/fine_tuning/jobs/:job/resume",
    id: "resumeFineTuningJob",
    summary: "Goes on with it exactly from there",
    handler: resumeJob,
  },
  {
    method: "get",
    path: "/v1/fine_tuning/jobs/:job/events",
    id: "listFineTuningEvents",
    summary: "What happened in it, the newest first, with losses",
    handler: jobEvents,
  },
  {
    method: "get",
    path: "/v1/fine_tuning/jobs/:job/checkpoints",
    id: "listFineTuningJobCheckpoints",
    summary: "Its checkpoints, the newest first",
    handler: jobCheckpoints,
  },
  {
    method: "get",
    path: "/health",
    id: "health",
    summary: "Whether the server answers",
    isOpen: true,
    handler: health,
  },
  {
    method: "get",
    path: "/props",
    id: "props",
    summary: "How the server is set",
    handler: props,
  },
  {
    method: "get",
    path: "/metrics",
    id: "metrics",
    summary: "Figures for Prometheus",
    answers: ["text/plain"],
    handler: prometheus,
  },
];
