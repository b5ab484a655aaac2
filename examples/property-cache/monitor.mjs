// The monitor's HTTP face, on loopback only.
// What it tells comes from the cache service.

import { createServer } from "node:http";

export const PORT = 8600;
/** At most this many properties are listed. */
const LISTED = 100;

const send = (response, status, body) => {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
};

const GET = {
  "/health": (service) => ({ status: service.ping() === "PONG" ? "healthy" : "failing", uptime: process.uptime() }),
  "/valkey/stats": (service) => service.stats(),
  "/cache/properties": (service) => {
    const all = service.cachedProperties();
    return { count: all.length, properties: all.slice(0, LISTED) };
  },
  "/whatsapp/rate-limits": (service) => ({ limits: service.whatsAppRateLimits() }),
};

function answer(service, request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  if (request.method === "GET" && Object.hasOwn(GET, pathname)) return send(response, 200, GET[pathname](service));
  const [, pattern] = /^\/cache\/([^/]+)$/.exec(pathname) ?? [];
  if (request.method === "DELETE" && pattern !== undefined) {
    const decoded = decodeURIComponent(pattern);
    return send(response, 200, { pattern: decoded, deleted: service.clear(decoded) });
  }
  return send(response, 404, { error: "not found" });
}

/** Starts the monitor; resolves once it listens. */
export function startMonitor(service, port = PORT) {
  const server = createServer((request, response) => {
    try {
      answer(service, request, response);
    } catch (error) {
      send(response, error instanceof URIError ? 400 : 500, { error: error.message });
    }
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
