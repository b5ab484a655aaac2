// BullMQ 5, which speaks to ioredis 5: in process by the Connector, and over a socket.

import * as bullmq from "bullmq5";
import { declare } from "./bullmq.mjs";
import { PLACES } from "./places.mjs";

for (const [place, options] of Object.entries(PLACES)) declare(`BullMQ 5 ${place}`, bullmq, options);
