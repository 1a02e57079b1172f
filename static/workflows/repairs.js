// Shows those fields of the repair's form that go with the chosen verb. Without this script all of them are there.
"use strict";

const verb = document.querySelector("select[name=verb]");

function show() {
  for (const row of document.querySelectorAll("[data-verbs]")) {
    row.hidden = !row.dataset.verbs.split(" ").includes(verb.value) && !row.classList.contains("errors");
  }
}

verb.addEventListener("change", show);
show();
