/**
 * The arithmetic of benchmark results.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Goal, judge, type Scenario, spreadOf } from '../../bench/support/result.ts';

function scenario(figures: Record<string, readonly number[]>): Scenario {
  const entries = Object.entries(figures).map(([name, values]) => {
    return { name, title: name, facts: {}, rounds: values.map((cpuUs) => ({ cpuUs })) };
  });
  return { name: '13 bytes', entries };
}

const goal: Goal = { contestant: 'own', against: ['a', 'b'], metric: 'cpuUs', bound: 0.9, direction: 'atMost' };

test('the spread of an even count has the middle of the two middle values as median', () => {
  assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
});

test('ratios are taken within a round, not between medians', () => {
  const [verdict] = judge([scenario({ own: [1, 20, 3], a: [2, 10, 10] })], [goal]);

  assert.deepEqual(verdict.values, [0.5, 2, 0.3]);
  assert.equal(verdict.spread.median, 0.5);
  assert.equal(verdict.met, true);
});

test('a goal against several peers is judged against the best of them', () => {
  const [verdict] = judge([scenario({ own: [9, 9, 9], a: [20, 20, 20], b: [9.5, 9.5, 9.5] })], [goal]);

  assert.equal(verdict.peer, 'b');
  assert.equal(verdict.met, false);
});

test('at least asks for the larger figure, of the contestant and of the peer', () => {
  const more: Goal = { ...goal, direction: 'atLeast', bound: 1 };
  const [verdict] = judge([scenario({ own: [10], a: [5], b: [11] })], [more]);

  assert.equal(verdict.peer, 'b');
  assert.equal(verdict.met, false);
});

test('a goal without a peer is judged by the figure itself, and one whose peer is absent is not judged', () => {
  const alone: Goal = { ...goal, against: [], bound: 300 };
  const verdicts = judge([scenario({ own: [250, 310, 290] })], [alone, goal]);

  assert.equal(verdicts.length, 1);
  assert.equal(verdicts[0].peer, null);
  assert.equal(verdicts[0].spread.median, 290);
  assert.equal(verdicts[0].met, true);
});

test('a ratio of which nothing is wanted is neither met nor missed', () => {
  const [verdict] = judge([scenario({ own: [3], a: [2] })], [{ ...goal, bound: null }]);

  assert.equal(verdict.spread.median, 1.5);
  assert.equal(verdict.met, null);
});
