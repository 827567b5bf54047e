// Asks the proxy ten times and shows which upstream answered.
const element = (id) => document.getElementById(id);

element('ask').addEventListener('click', async () => {
  const counts = { left: 0, right: 0 };
  element('bars').hidden = false;
  element('answer').hidden = false;
  for (let asked = 0; asked < 10; asked++) {
    const answer = await (await fetch('/api/who')).json();
    counts[answer.upstream]++;
    for (const side of ['left', 'right']) {
      element(side).value = counts[side];
      element(`${side}-count`).textContent = counts[side];
    }
    element('answer').textContent = JSON.stringify(answer, null, 2);
  }
});
