import { el, keep, say, svg } from './dom.js'
import { count, rate, time } from './format.js'
import { stayOn } from './live.js'
import { badge, table } from './table.js'

/** Seconds that the curve shows. */
const REMEMBERED = 60

/** Stages with a box of their own, and the hooks that run there; all others are routing modules. */
const STAGES = {
  c2s_in: { title: 'Clients in', hooks: /^user_send_/ },
  router: { title: 'Router', hooks: /^(filter_packet|message_routed)$/ },
  local_delivery: {
    title: 'Local delivery',
    hooks: /^(filter_local_packet|message_to_domain|presence_to_domain)$/,
  },
  session_manager: { title: 'Session manager', hooks: /^(sm_message_|sm_filter_|offline_)/ },
  iq: { title: 'Answers to iq', hooks: undefined },
  c2s_out: { title: 'Clients out', hooks: /^(user_receive_|xmpp_presend_element)/ },
}

const SOURCES = {
  c2s: 'Clients',
  s2s: 'Other servers',
  component: 'Components',
  server: 'This server',
  admin: 'Administration',
}

export const route = {
  id: 'route',
  title: 'Route',
  needs: ['route watch'],
  mount(root, { signal }) {
    const state = el('p.note', { role: 'status' }, 'Connecting …')
    const nodes = makeNodeChoice(() => watch())
    const figures = makeFigures()
    const received = makeEnds('Received from')
    const sent = makeEnds('Sent to')
    const chain = el('ol.chain')
    const boxes = Object.fromEntries(
      Object.entries(STAGES).map(([name, { title }]) => [
        name,
        makeBox(title, name === 'router' ? chain : undefined),
      ]),
    )
    const stops = [
      [received],
      [boxes.c2s_in],
      [boxes.router],
      [boxes.local_delivery, boxes.session_manager, boxes.iq],
      [boxes.c2s_out, sent],
    ].map((column) => el('li', {}, arrow(), ...column.map(({ root: box }) => box)))
    const outcomes = table({
      caption: 'What became of stanzas, by who decided',
      none: 'No stanzas yet.',
      key: ({ by, fate }) => `${by} ${fate}`,
      columns: [
        { name: 'Decided by', isMain: true, text: ({ by }) => by },
        { name: 'Fate', show: badge(({ fate }) => fate) },
        { name: 'Now', isNumber: true, text: ({ per_second }) => rate(per_second) },
        { name: 'Since the start', isNumber: true, text: ({ stanzas }) => count(stanzas) },
        { name: 'Share', show: bar },
      ],
    })
    root.append(
      nodes.root,
      state,
      figures.root,
      el('ol.route', { 'aria-label': 'Stages of the route, in order' }, ...stops),
      el('section.card', {}, el('h2', {}, 'Outcomes'), outcomes.root),
    )

    const onItem = (item) => {
      const known = new Map(item.stages.map((stage) => [stage.name, stage]))
      figures.show(item)
      nodes.show(item)
      if (isLive) say(state, liveText(item))
      received.show(
        item.received.map(({ from, ...rest }) => ({ ...rest, name: SOURCES[from] ?? from })),
      )
      sent.show(item.sent.map(({ to, ...rest }) => ({ ...rest, name: SOURCES[to] ?? to })))
      for (const [name, { hooks }] of Object.entries(STAGES)) {
        const handlers = item.hooks.filter(({ hook }) => hooks?.test(hook))
        boxes[name].show(known.get(name), handlers)
      }
      keep(
        chain,
        item.stages.filter(({ name }) => !(name in STAGES)),
        {
          key: ({ name }) => name,
          make: ({ name }) =>
            el('li.flow', {}, el('span', {}, name), el('span.rate'), el('span.time')),
          update: (line, stage) => {
            say(line.children[1], rate(stage.per_second))
            showTime(line.children[2], stage)
            line.classList.toggle('is-moving', stage.per_second > 0)
          },
        },
      )
      const most = Math.max(1, ...item.outcomes.map(({ stanzas }) => stanzas))
      outcomes.show(
        item.outcomes
          .map((each) => ({ ...each, share: each.stanzas / most }))
          .sort((a, b) => b.stanzas - a.stanzas),
      )
      stops.forEach((stop, i) => {
        stop.classList.toggle('is-moving', rateInto(item, known, i) > 0)
      })
    }
    let isLive = false
    const onState = (now) => {
      isLive = now === 'live'
      if (!isLive) say(state, now === 'lost' ? 'Connection lost; trying again …' : now)
      root.classList.toggle('is-stale', !isLive)
    }
    let watching = new AbortController()
    const watch = () => {
      watching.abort()
      watching = new AbortController()
      figures.clear()
      const whole = AbortSignal.any([signal, watching.signal])
      void stayOn('route watch', nodes.args(), { signal: whole, onItem, onState })
    }
    watch()
  },
}

function liveText({ nodes, silent }) {
  const whose = nodes.length > 1 ? `, ${nodes.length} nodes together` : ''
  const missing = silent.length > 0 ? ` No answer from ${silent.join(', ')}.` : ''
  return `Live${whose}.${missing} Times are known while somebody follows a trace.`
}

/** All nodes together, or one; not shown where there is but one. */
function makeNodeChoice(onChange) {
  const all = el('option', { value: '' }, 'All nodes')
  const select = el('select', { name: 'node', onchange: onChange }, all)
  const root = el('div.bar', { hidden: true }, el('label', {}, 'Nodes', select))
  const known = new Set()
  return {
    root,
    args: () => (select.value === '' ? {} : { node: select.value }),
    show({ nodes, silent }) {
      for (const name of [...nodes, ...silent]) {
        if (known.has(name)) continue
        known.add(name)
        select.append(el('option', { value: name }, name))
      }
      root.hidden = known.size < 2
    },
  }
}

/** How much comes into a column. */
function rateInto(item, known, column) {
  const sum = (list) => list.reduce((total, { per_second }) => total + (per_second ?? 0), 0)
  const of = (name) => known.get(name)?.per_second ?? 0
  const rates = [
    sum(item.received),
    of('c2s_in'),
    of('router'),
    of('local_delivery'),
    sum(item.sent),
  ]
  return rates[column]
}

function arrow() {
  return svg(
    'svg.arrow',
    { viewBox: '0 0 32 12', 'aria-hidden': 'true' },
    svg('path.line', { d: 'M0 6H28' }),
    svg('path', { d: 'M24 1l6 5-6 5' }),
  )
}

/** A stage with its hooks. */
function makeBox(title, ...inside) {
  const speed = el('span.rate')
  const took = el('span.time')
  const total = el('span.total')
  const summary = el('summary')
  const list = el('ul')
  const hooks = el('details', { open: matchMedia('(min-width: 70rem)').matches }, summary, list)
  const root = el(
    'div.card.stage',
    { role: 'group', 'aria-label': title },
    el('h2', {}, title),
    el('p.measures', {}, speed, took, total),
    ...inside,
    hooks,
  )
  const show = (stage, handlers) => {
    if (stage !== undefined) {
      say(speed, rate(stage.per_second))
      showTime(took, stage)
      say(total, `${count(stage.stanzas)} in all`)
    }
    hooks.hidden = handlers.length === 0
    say(summary, `${handlers.length} ${handlers.length === 1 ? 'handler' : 'handlers'} of hooks`)
    keep(list, [...Map.groupBy(handlers, ({ hook }) => hook)], {
      key: ([hook]) => hook,
      make: ([hook]) => el('li.hook', {}, el('span', {}, hook), el('ul')),
      update: ({ lastElementChild: inner }, [, those]) => showHandlers(inner, those),
    })
  }
  return { root, show }
}

function showHandlers(list, handlers) {
  keep(list, handlers, {
    key: ({ by }) => by,
    make: ({ by }) => el('li.flow', {}, el('span', {}, by), el('span.rate')),
    update: (line, { per_second, failures }) => {
      const failed = failures === 0 ? '' : `, ${count(failures)} failed`
      say(line.lastElementChild, `${rate(per_second)}${failed}`)
      line.classList.toggle('is-moving', per_second > 0)
      line.classList.toggle('is-failing', failures > 0)
    },
  })
}

function showTime(element, { mean_ms }) {
  if (mean_ms !== null) say(element, time(mean_ms))
}

/** Where stanzas come from, or go to. */
function makeEnds(title) {
  const list = el('ul.ends')
  const show = (ends) =>
    keep(list, ends, {
      key: ({ name }) => name,
      make: ({ name }) => el('li.flow', {}, el('span', {}, name), el('span.rate')),
      update: (line, { per_second }) => {
        say(line.lastElementChild, rate(per_second))
        line.classList.toggle('is-moving', per_second > 0)
      },
    })
  return { root: el('section.card.stage', {}, el('h2', {}, title), list), show }
}

function makeFigures() {
  const rates = []
  const curve = svg('polyline', { points: '' })
  const area = svg('polygon', { points: '' })
  const names = ['Stanzas', 'Sessions', 'Components', 'Servers']
  const values = names.map(() => el('dd', {}, '–'))
  const peak = el('span.note')
  const root = el(
    'div.figures.card',
    {},
    el('dl', {}, ...names.map((name, i) => el('div', {}, el('dt', {}, name), values[i]))),
    el(
      'div.curve',
      { 'aria-hidden': 'true' },
      svg('svg', { viewBox: `0 0 ${REMEMBERED} 20`, preserveAspectRatio: 'none' }, area, curve),
      peak,
    ),
  )
  const clear = () => {
    rates.length = 0
  }
  const show = ({ received, sessions, components, servers }) => {
    const isFirst = received.some(({ per_second }) => per_second === null)
    const now = received.reduce((total, { per_second }) => total + (per_second ?? 0), 0)
    if (!isFirst) rates.push(now)
    if (rates.length > REMEMBERED + 1) rates.shift()
    const texts = [isFirst ? '–' : rate(now), count(sessions), count(components), count(servers)]
    texts.forEach((text, i) => {
      say(values[i], text)
    })
    const most = Math.max(1, ...rates)
    const left = REMEMBERED - rates.length + 1
    const points = rates.map((each, i) => `${left + i},${19.5 - (each / most) * 18}`)
    curve.setAttribute('points', points.join(' '))
    area.setAttribute('points', [`${left},20`, ...points, `${REMEMBERED},20`].join(' '))
    say(peak, `up to ${rate(most)} in the last minute`)
  }
  return { root, show, clear }
}

function bar(cell, { share, fate }) {
  let line = cell.firstElementChild
  if (line === null) {
    line = svg(
      'svg.bar',
      { 'aria-hidden': 'true', viewBox: '0 0 100 8', preserveAspectRatio: 'none' },
      svg('rect', { height: 8, rx: 2, 'data-kind': fate }),
    )
    cell.append(line)
  }
  line.firstElementChild.setAttribute('width', String(Math.max(1, share * 100)))
}
