// Asks the proxy and shows which upstream answered, how often, and what it said.
const byId = (id) => document.getElementById(id);
const counts = { left: 0, right: 0 };

function show(answer) {
  counts[answer.upstream]++;
  for (const box of document.querySelectorAll('[data-upstream]')) {
    const name = box.dataset.upstream;
    box.querySelector('output').textContent = counts[name];
    box.classList.toggle('answered', name === answer.upstream);
  }
  byId('answer').hidden = false;
  byId('answer').textContent = JSON.stringify(answer, null, 2);
}

async function ask(count) {
  const begin = performance.now();
  for (let asked = 0; asked < count; asked++) {
    const response = await fetch('/api/who', { cache: 'no-store' });
    if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
    show(await response.json());
  }
  const elapsedMs = (performance.now() - begin) / count;
  byId('state').textContent = `${elapsedMs.toFixed(1)} ms a request, seen from this page`;
}

for (const button of document.querySelectorAll('[data-count]')) {
  button.addEventListener('click', async () => {
    document.body.classList.add('flowing');
    try {
      await ask(Number(button.dataset.count));
    } catch (error) {
      byId('state').textContent = `No answer: ${error.message}`;
    } finally {
      document.body.classList.remove('flowing');
    }
  });
}
