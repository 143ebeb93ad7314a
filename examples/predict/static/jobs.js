// Starts a job and follows it by its server-sent events.
const byId = (id) => document.getElementById(id);

function show(job) {
  byId("bar").max = job.total || 1;
  byId("bar").value = job.done;
  const steps = job.total ? ` ${job.done} of ${job.total}` : "";
  const outcome = job.result ? `: ${JSON.stringify(job.result)}` : job.error ? `: ${job.error}` : "";
  byId("told").textContent = job.state + steps + outcome;
  byId("cancel").disabled = !["queued", "running"].includes(job.state);
}

byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("/scan", { method: "POST", body: new FormData(event.target) });
  const job = await answer.json();
  byId("cancel").onclick = () => fetch(job.url, { method: "DELETE" });
  const events = new EventSource(job.events);
  for (const state of ["queued", "running", "done", "failed", "cancelled"]) {
    events.addEventListener(state, (message) => show(JSON.parse(message.data)));
  }
  for (const state of ["done", "failed", "cancelled"]) {
    events.addEventListener(state, () => events.close());
  }
});
