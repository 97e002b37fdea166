// A small shop on Understudy, as one is written on Redis: npm install && npm start, beside `understudy --door 6379`.
//
//   sessions with a cart     express-session, connect-redis
//   a slow query, cached     SET … EX
//   a rate limit             SET … EX NX, INCR in one MULTI
//   a leaderboard            ZINCRBY, ZRANGE REV WITHSCORES
//   live visitors            PUBLISH, SUBSCRIBE, server-sent events
//
// The last line of every page tells which server answered, and how old the last failover is. Kill that server.
import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import { createClient } from 'redis'

const doorPort = Number(process.env.DOOR ?? 6379)
const port = Number(process.env.PORT ?? 3000)
const HITS_MAX = Number(process.env.HITS_MAX ?? 300) // a client, a minute
const CACHE_SECONDS = 5
const WARES = ['apple', 'bread', 'cheese', 'dates', 'eggs']

const connect = async () => {
  const client = createClient({ url: `redis://127.0.0.1:${doorPort}` })
  client.on('error', error => console.error(`the door: ${error.message}`))
  return client.connect()
}
const [store, listener] = [await connect(), await connect()]

// ---- who leads, and since when -----------------------------------------------------------------

let leader = { view: undefined, rank: '?', pid: '?', since: Date.now(), failovers: '0' }

async function look () {
  const info = Object.fromEntries((await store.info('replication')).split('\r\n').map(line => line.split(':')))
  if (info.view !== leader.view) leader = { view: info.view, since: Date.now() }
  Object.assign(leader, { rank: info.primary_rank, pid: info.primary_pid, failovers: info.failovers })
}
await look()
setInterval(() => look().catch(error => console.error(error.message)), 250)

const footer = () =>
  `<footer>server ${leader.rank} answers (process ${leader.pid}, view ${leader.view}); ` +
  `failovers: ${leader.failovers}, the last change ${((Date.now() - leader.since) / 1000).toFixed(0)} s ago</footer>`

// ---- live visitors -----------------------------------------------------------------------------

const streams = new Set()
await listener.subscribe('visits', message => {
  for (const stream of streams) stream.write(`data: ${message}\n\n`)
})

// ---- the application ---------------------------------------------------------------------------

const app = express()
app.use(session({
  store: new RedisStore({ client: store, prefix: 'shop:session:', ttl: 3600 }),
  secret: process.env.SECRET ?? 'only for this demonstration',
  resave: false,
  saveUninitialized: true
}))

app.use(async (request, response, next) => {
  const key = `shop:hits:${request.sessionID}`
  const [, hits] = await store.multi().set(key, 0, { condition: 'NX', expiration: { type: 'EX', value: 60 } }).incr(key).exec()
  if (Number(hits) > HITS_MAX) return response.status(429).send('Too many requests: wait a minute.')
  next()
})

const escape = text => String(text).replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
const page = (title, body) => `<!doctype html><meta charset="utf-8"><title>${title}</title><style>
  body { font: 16px/1.5 sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
  a, button { color: #06c } ul { padding-left: 1.2rem } #live { color: #080 }
  footer { margin-top: 2rem; border-top: 1px solid #ccc; color: #666; font-size: 14px }
</style><h1>${title}</h1>${body}${footer()}`

app.get('/', async (request, response) => {
  const cart = request.session.cart ?? {}
  const [top, report] = await Promise.all([leaders(), slowReport()])
  await store.publish('visits', `somebody looks at the shop (${new Date().toISOString().slice(11, 19)})`)
  const wares = WARES.map(ware => `<li>${ware}: ${cart[ware] ?? 0} in your cart
    <form method="post" action="/cart/${ware}" style="display:inline"><button>one more</button></form>`).join('')
  const board = top.map(({ value, score }) => `<li>${escape(value)}: ${score}`).join('')
  response.send(page('The shop that stays open', `
    <ul>${wares}</ul>
    <h2>What sells best</h2><ol>${board}</ol>
    <h2>A slow query, cached for ${CACHE_SECONDS} s</h2><p>${escape(report)}</p>
    <p id="live">Nobody else is here.</p>
    <script>new EventSource('/live').onmessage = event => { document.getElementById('live').textContent = event.data }</script>`))
})

app.post('/cart/:ware', async (request, response) => {
  const { ware } = request.params
  if (!WARES.includes(ware)) return response.status(404).send('There is no such ware.')
  request.session.cart = { ...request.session.cart, [ware]: (request.session.cart?.[ware] ?? 0) + 1 }
  await store.zIncrBy('shop:best', 1, ware)
  response.redirect(303, '/')
})

app.get('/cart', (request, response) => response.json(request.session.cart ?? {}))
app.get('/leader', (request, response) => response.json(leader))

app.get('/live', (request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  streams.add(response)
  request.on('close', () => streams.delete(response))
})

const leaders = () => store.zRangeWithScores('shop:best', 0, 4, { REV: true })

async function slowReport () {
  const cached = await store.get('shop:report')
  if (cached !== null) return cached
  await new Promise(resolve => setTimeout(resolve, 200))
  const made = `made at ${new Date().toISOString().slice(11, 19)}, in 200 ms`
  await store.set('shop:report', made, { expiration: { type: 'EX', value: CACHE_SECONDS } })
  return made
}

app.use((error, request, response, next) => {
  console.error(error)
  response.status(500).send('That did not work.')
})

const server = app.listen(port, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port} on the door at ${doorPort}`)
})
