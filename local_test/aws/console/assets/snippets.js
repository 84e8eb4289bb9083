// A request of the playground as code. A body that is not short text is read from a file.

const LONGEST = 4000;
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const python = JSON.stringify;  // a JSON string is one in Python, too

function listMembers(request, names) {
  const values = [request.type, request.accept, request.model, request.component];
  return names.map((name, index) => [name, values[index]]).filter(([, value]) => value);
}

export function listHeaders(request) {
  return listMembers(request, ["Content-Type", "Accept", "X-Amzn-SageMaker-Target-Model", "X-Amzn-SageMaker-Inference-Component"]);
}

function isShort(request) { return typeof request.body === "string" && request.body.length <= LONGEST; }

export function nameFile(request) {
  const suffix = { "text/csv": "csv", "application/json": "json", "image/png": "png", "image/jpeg": "jpg" }[request.type];
  return `body.${suffix || (typeof request.body === "string" ? "txt" : "bin")}`;
}

export function needsFile(request) { return !isShort(request); }

export const WRITERS = {
  curl: (request, form) => {
    // A text that begins with @ would be the name of a file for --data-binary.
    const body = isShort(request) ? `--data-raw ${shell(request.body)}` : `--data-binary @${nameFile(request)}`;
    const own = [request.type ? "" : "Content-Type:", request.accept ? "" : "Accept:"].filter(Boolean);  // curl's, left out
    return [
      `# first: eval "$(${form.command} env)"`,
      `curl --aws-sigv4 aws:amz:${form.region}:sagemaker --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\`,
      ...listHeaders(request).map(([name, value]) => `  -H ${shell(`${name}: ${value}`)} \\`),
      ...own.map((name) => `  -H ${shell(name)} \\`),
      `  ${body} \\`,
      `  "$AWS_ENDPOINT_URL/endpoints/${form.endpoint}/invocations"`,
    ].join("\n");
  },
  boto3: (request, form) => {
    const members = listMembers(request, ["ContentType", "Accept", "TargetModel", "InferenceComponentName"]);
    return [
      `import boto3  # first, in the shell: eval "$(${form.command} env)"`,
      "",
      `runtime = boto3.client("sagemaker-runtime", region_name=${python(form.region)})`,
      `answer = runtime.invoke_endpoint(`,
      `    EndpointName=${python(form.endpoint)},`,
      ...members.map(([name, value]) => `    ${name}=${python(value)},`),
      `    Body=${writeBody(request)},`,
      ")",
      `print(answer["Body"].read())`,
    ].join("\n");
  },
  sdk: (request, form) => {
    const members = listMembers(request, ["content_type", "accept", "target_model", "inference_component_name"]);
    return [
      `from sagemaker.core.resources import Endpoint  # first, in the shell: eval "$(${form.command} env)"`,
      "",
      `endpoint = Endpoint.get(endpoint_name=${python(form.endpoint)})`,
      `answer = endpoint.invoke(`,
      `    body=${writeBody(request)},`,
      ...members.map(([name, value]) => `    ${name}=${python(value)},`),
      ")",
      `print(answer.body.read())`,
    ].join("\n");
  },
};

function writeBody(request) {
  return isShort(request) ? `${python(request.body)}.encode()` : `open(${python(nameFile(request))}, "rb").read()`;
}
