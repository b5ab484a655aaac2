// A web application on the loopback interface, and a browser that keeps its cookies.
// What it serves is the tests' affair.

import { once } from "node:events";

/** Serves an application; a function that asks it, and what ends it. */
export async function serve(app) {
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${server.address().port}`;
  return {
    base,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Asks a server as a browser would, which keeps the cookies that it is given. */
export function browser(base) {
  let cookie;
  return async (path, options = {}) => {
    const headers = { ...options.headers, ...(cookie && { cookie }) };
    const response = await fetch(base + path, { ...options, headers });
    const [set] = response.headers.getSetCookie();
    if (set !== undefined) cookie = set.split(";")[0];
    return response;
  };
}
