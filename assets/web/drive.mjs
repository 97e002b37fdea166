// Drives the shop by HTTP: node drive.mjs URL SECONDS, or until TERM. Several visitors fill their carts one by one, and
// look whether what they have put there is there. Ends with one line, and status 1 when a request failed or a cart was
// wrong. (Start the shop with HITS_MAX=1000000: these visitors hurry.)
const [url, seconds] = [process.argv[2], Number(process.argv[3])]
const VISITORS = 8
let until = Date.now() + seconds * 1000
process.on('SIGTERM', () => { until = 0 })
let requests = 0
let failed = 0
let lost = 0
let longest = 0

async function ask (path, options) {
  const begun = Date.now()
  requests += 1
  try {
    const response = await fetch(url + path, { redirect: 'manual', ...options })
    const text = await response.text()
    longest = Math.max(longest, Date.now() - begun)
    if (response.status >= 400) throw new Error(`${path}: ${response.status} ${text}`)
    return { response, text }
  } catch (error) {
    failed += 1
    console.error(error.message)
    return undefined
  }
}

async function visitor (ware) {
  const first = await ask('/cart')
  const cookie = first?.response.headers.get('set-cookie')?.split(';')[0] ?? ''
  let count = 0
  while (Date.now() < until) {
    if (await ask(`/cart/${ware}`, { method: 'POST', headers: { cookie } })) count += 1
    const cart = await ask('/cart', { headers: { cookie } })
    if (cart && JSON.parse(cart.text)[ware] !== count) {
      lost += 1
      console.error(`${cart.text} instead of ${count}`)
      return
    }
    await ask('/', { headers: { cookie } })
  }
}

await Promise.all(Array.from({ length: VISITORS }, (_, at) => visitor(['apple', 'bread', 'cheese', 'dates'][at % 4])))
console.log(`${requests} requests, ${failed} failed, ${lost} carts lost, the longest answer ${longest} ms`)
process.exit(failed + lost > 0 || requests === 0 ? 1 : 0)
