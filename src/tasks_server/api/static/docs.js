// Draws the API from /openapi.json and sends requests to try it. Text goes in as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

const resolve = (api, schema) => (schema && schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema || {});

// What a schema allows, in a line.
function describe(api, schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => describe(api, one)).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  if (schema.type === "array") return `array of ${describe(api, schema.items) || "anything"}${range(schema.minItems, schema.maxItems)}`;
  if (schema.type === "string") return `text${range(schema.minLength, schema.maxLength)}`;
  if (schema.type === "object") return "object";
  return `${schema.type || "any"}${range(schema.minimum, schema.maximum)}`;
}

function range(low, high) {
  if (low === undefined && high === undefined) return "";
  if (high === undefined) return ` ≥ ${low}`;
  return low === undefined ? ` ≤ ${high}` : ` ${low}…${high}`;
}

// An example of the required part of a body, to begin with.
function example(api, schema) {
  const whole = resolve(api, schema);
  if (whole.examples) return whole.examples[0];
  if (whole.default !== undefined && whole.default !== null) return whole.default;
  if (whole.enum) return whole.enum[0];
  if (whole.anyOf) return example(api, whole.anyOf[0]);
  if (whole.type === "array") return [example(api, whole.items)];
  if (whole.type === "object") {
    const entries = (whole.required || []).map((name) => [name, example(api, whole.properties[name])]);
    return Object.fromEntries(entries);
  }
  return { string: "", integer: whole.minimum || 0, number: 0, boolean: false }[whole.type] ?? null;
}

function schemaTable(api, name) {
  const schema = api.components.schemas[name];
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, inner]) =>
    make("tr", {},
      make("td", {}, make("code", { class: required.has(field) ? "required" : "" }, field)),
      make("td", {}, describe(api, inner), inner.description ? make("div", { class: "note" }, inner.description) : null),
      make("td", {}, inner.default === undefined || inner.default === null ? "" : make("code", {}, JSON.stringify(inner.default)))));
  return make("details", { class: "operation", id: `schema-${name}` },
    make("summary", {}, make("span", { class: "path" }, name), make("span", { class: "what" }, schema.description || "")),
    make("div", {}, make("table", {},
      make("thead", {}, make("tr", {}, make("th", {}, "Field"), make("th", {}, "Form"), make("th", {}, "Default"))),
      make("tbody", {}, ...rows))));
}

function answers(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const content = Object.values(response.content || {})[0];
    const form = content ? describe(api, content.schema) : "";
    return make("tr", {},
      make("td", { class: Number(status) < 400 ? "good" : "bad" }, status),
      make("td", {}, response.description),
      make("td", {}, api.components.schemas[form] ? make("a", { href: `#schema-${form}` }, form) : form));
  });
  return make("table", {}, make("tbody", {}, ...rows));
}

function tryIt(api, path, method, operation) {
  const inputs = (operation.parameters || []).filter((one) => one.name !== "X-Tasks-Owner-Id").map((parameter) => {
    const input = make("input", { name: parameter.name, spellcheck: "false", title: parameter.description });
    const label = make("span", { class: parameter.required ? "required" : "" }, parameter.name);
    return { parameter, input, element: make("label", {}, label, input) };
  });
  const body = operation.requestBody && make("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (body) body.value = JSON.stringify(example(api, operation.requestBody.content["application/json"].schema), null, 2);
  const output = make("div", { role: "status" });
  const send = async () => {
    output.replaceChildren(make("p", { class: "note" }, "Sending …"));
    const request = build(path, method, inputs, body);
    try {
      const began = performance.now();
      const response = await fetch(request.url, request.options);
      const text = await response.text();
      show(output, request, response, text, performance.now() - began);
    } catch (error) {
      output.replaceChildren(make("p", { class: "bad" }, `No answer: ${error.message}`));
    }
  };
  return make("section", {},
    make("h4", {}, "Try it"),
    make("div", { class: "fields" }, ...inputs.map((one) => one.element)),
    body, make("p", {}, make("button", { type: "button", class: "send", onclick: send }, "Send")), output);
}

function build(path, method, inputs, body) {
  const query = new URLSearchParams();
  const headers = {};
  let url = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value || " "));
    else if (input.value && parameter.in === "query") query.append(parameter.name, input.value);
    else if (input.value) headers[parameter.name] = input.value;
  }
  if (byId("key").value) headers.Authorization = `Bearer ${byId("key").value.trim()}`;
  if (byId("owner").value) headers["X-Tasks-Owner-Id"] = byId("owner").value.trim();
  if (body) headers["Content-Type"] = "application/json";
  if (query.size) url += `?${query}`;
  return { url, options: { method: method.toUpperCase(), headers, body: body ? body.value : undefined, cache: "no-store" } };
}

function show(output, request, response, text, spent) {
  let pretty = text;
  try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it came */ }
  const status = make("p", {},
    make("span", { class: `status ${response.ok ? "good" : "bad"}` }, `${response.status} ${response.statusText}`),
    ` in ${Math.round(spent)} ms · request ${response.headers.get("x-request-id")}`);
  output.replaceChildren(status, make("pre", {}, pretty), make("h4", {}, "The same with curl"), make("pre", {}, curl(request)));
}

function curl({ url, options }) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const headers = Object.entries(options.headers).map(([name, value]) => name === "Authorization"
    ? ` \\\n  -H "Authorization: Bearer $KEY"` : ` \\\n  -H ${quote(`${name}: ${value}`)}`);
  const body = options.body === undefined ? "" : ` \\\n  -d ${quote(options.body)}`;
  return `curl -X ${options.method} ${quote(location.origin + url)}${headers.join("")}${body}`;
}

function operationView(api, path, method, operation) {
  const body = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const named = body && body.$ref ? body.$ref.split("/").pop() : null;
  const content = make("div", {});
  const view = make("details", { class: "operation", id: operation.operationId },
    make("summary", {},
      make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("span", { class: "path" }, path),
      make("span", { class: "what" }, operation.summary)),
    content);
  view.addEventListener("toggle", () => {
    if (!view.open || content.childElementCount) return;
    content.append(
      make("p", {}, operation.description || "", operation.security ? "" : " No key needed."),
      ...(named ? [make("p", {}, "Body: ", make("a", { href: `#schema-${named}` }, named))] : []),
      make("h4", {}, "Answers"), answers(api, operation), tryIt(api, path, method, operation));
  });
  return view;
}

function errorTable(api) {
  const rows = Object.entries(api["x-error-codes"]).map(([code, known]) =>
    make("tr", { id: `error-${code}` },
      make("td", {}, String(known.status)), make("td", {}, make("code", {}, code)), make("td", {}, known.meaning)));
  return make("table", {}, make("thead", {},
    make("tr", {}, make("th", {}, "Status"), make("th", {}, "Code"), make("th", {}, "Meaning"))), make("tbody", {}, ...rows));
}

function draw(api) {
  byId("version").textContent = api.info.version;
  const content = byId("content"), index = byId("index"), groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, operation]);
    }
  }
  content.replaceChildren(make("p", {}, api.info.description));
  for (const [tag, operations] of groups) {
    content.append(make("h2", {}, tag), ...operations.map((one) => operationView(api, ...one)));
    index.append(make("h2", {}, tag), ...operations.map(([, , operation]) =>
      make("a", { href: `#${operation.operationId}` }, operation.summary)));
  }
  content.append(make("h2", { id: "schemas" }, "Schemas"), ...Object.keys(api.components.schemas).map((name) => schemaTable(api, name)));
  content.append(make("h2", { id: "errors" }, "Errors"), errorTable(api));
  index.append(make("h2", {}, "Reference"), make("a", { href: "#schemas" }, "Schemas"), make("a", { href: "#errors" }, "Errors"),
    make("a", { href: "/openapi.json" }, "openapi.json"));
  reveal();
}

// Opens what the address names, and goes there.
function reveal() {
  const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}

// Kept for this tab only, and gone with it.
function rememberCredentials() {
  for (const id of ["key", "owner"]) {
    byId(id).value = sessionStorage.getItem(id) || "";
    byId(id).addEventListener("input", () => sessionStorage.setItem(id, byId(id).value));
  }
  byId("forget").addEventListener("click", () => {
    sessionStorage.clear();
    byId("key").value = byId("owner").value = "";
  });
  byId("credentials").addEventListener("submit", (event) => event.preventDefault());
}

window.addEventListener("hashchange", reveal);
rememberCredentials();
fetch("/openapi.json").then((response) => response.json()).then(draw).catch((error) => {
  byId("notice").textContent = `openapi.json could not be read: ${error.message}`;
});
