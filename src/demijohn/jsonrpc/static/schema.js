// What is said of values in JSON Schema (draft 7, as in OpenRPC): names of types, limits, values to begin with.

let components = {};

export function useComponents(schemas) { components = schemas ?? {}; }

const nameOf = (schema) => schema.$ref?.split("/").pop();

export function resolve(schema) {
  const name = nameOf(schema);
  if (name) return resolve({ ...components[name], ...(schema.default !== undefined && { default: schema.default }) });
  if (!Array.isArray(schema.type)) return schema;
  const { type, ...rest } = schema;
  return { ...rest, anyOf: type.map((each) => ({ ...rest, type: each })) };
}

export const eitherOf = (schema) => schema.anyOf ?? schema.oneOf;

export function typeName(schema) {
  const name = nameOf(schema);
  if (name && !components[name]?.enum) return components[name]?.title ?? name;
  schema = resolve(schema);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const either = eitherOf(schema);
  if (either) return schema.title ?? either.map(typeName).join(" | ");
  if (schema.type === "array") {
    if (Array.isArray(schema.items)) return `[${schema.items.map(typeName).join(", ")}]`;
    return schema.items && Object.keys(schema.items).length ? `array of ${typeName(schema.items)}` : "array";
  }
  if (schema.type === "object" && schema.title) return schema.title;
  if (schema.type === "object" && schema.additionalProperties?.type) return `object of ${typeName(schema.additionalProperties)}`;
  return schema.format ?? schema.type ?? "any";
}

const LIMITS = {
  minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<", minLength: "length ≥", maxLength: "length ≤",
  minItems: "items ≥", maxItems: "items ≤", multipleOf: "multiple of", pattern: "like",
};

export function limits(schema) {
  return Object.entries(LIMITS).filter(([key]) => schema[key] !== undefined).map(([key, word]) => `${word} ${schema[key]}`).join(", ");
}

const EMPTIEST = { integer: 0, number: 0, boolean: false, array: [], object: {}, string: "" };

export function first(schema, depth = 0) {
  // A value to start a field with: the default, else the emptiest one that has the right shape.
  schema = resolve(schema);
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.const !== undefined) return schema.const;
  const either = eitherOf(schema);
  if (either) return first(either[0], depth);
  if (schema.type === "object" && depth < 4) {
    return Object.fromEntries((schema.required ?? []).map((name) => [name, first(schema.properties?.[name] ?? {}, depth + 1)]));
  }
  if (schema.type === "array" && Array.isArray(schema.items)) return schema.items.map((item) => first(item, depth + 1));
  if (schema.type === "string" && schema.format === "date") return new Date().toISOString().slice(0, 10);
  return EMPTIEST[schema.type] ?? null;
}

export function fits(schema, value) {
  // Whether a value has the shape of a schema, as far as it takes to choose between the members of a union.
  schema = resolve(schema);
  if (schema.enum) return schema.enum.includes(value);
  if (schema.const !== undefined) return schema.const === value;
  const either = eitherOf(schema);
  if (either) return either.some((member) => fits(member, value));
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  if (schema.type === "object") return kind === "object" && fitsMembers(schema, value);
  if (schema.type === "integer") return Number.isInteger(value);
  if (schema.type === "array" && kind === "array" && schema.items && !Array.isArray(schema.items)) return value.every((item) => fits(schema.items, item));
  return schema.type === undefined || schema.type === kind;
}

function fitsMembers(schema, value) {
  const known = schema.properties ?? {};
  const rest = schema.additionalProperties ?? true;
  return (schema.required ?? []).every((name) => name in value) && Object.entries(value).every(([name, member]) =>
    (name in known ? fits(known[name], member) : rest === true || (rest && fits(rest, member))));
}
