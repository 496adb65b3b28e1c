package reward

import "strings"

// wordSet makes a set of words that are separated by white space.
func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// changingWords beside an expression make it, or may make it, a part of a larger
// one or a number of another size. An equation beside one is not judged. The list
// cannot be complete. What it lacks can let a false equation pass as right, but
// never a true one as wrong.
var changingWords = wordSet(`
	of times plus minus by over cdot div pm multiplied divided added subtracted less than to power raised
	and-a half halves third thirds quarter quarters fifth tenth twice thrice double doubled triple tripled quadruple halved
	squared cubed square cube squares cubes root sqrt cbrt exp ln log lg log2 log10 sin cos tan cot sec csc sinh cosh tanh
	arcsin arccos arctan asin acos atan abs floor ceil ceiling round rounded trunc sign sgn max min maximum minimum
	mean median mode average avg sum product prod difference quotient ratio gcd lcm hcf det factorial choose
	negative opposite inverse reciprocal absolute logarithm sine cosine tangent cosecant secant frac binom
	mod modulo modulus rem remainder remaining base binary octal decimal hex hexadecimal xor
	percent percents percentage pct permille promille basis bps
	dozen dozens score gross pair pairs couple tens hundred hundreds thousand thousands million millions billion billions
	trillion trillions lakh lakhs crore crores mn mln bn bln tn trn mil mio mrd k
	approx approximately about roughly nearly almost around
	mal geteilt durch hoch quadrat wurzel hälfte halb halbe doppelt drittel viertel prozent dutzend hundert tausend
	million millionen milliarde milliarden rest paar modul von weniger mehr
	fois divisé divisée moins racine carrée carré moitié demi demie double tiers quart pour cent pourcent mille cents
	millier milliers milliard milliards reste douzaine de du des par puissance
	por más menos entre dividido multiplicado raíz cuadrada cuadrado cubo mitad medio doble triple tercio cuarto ciento
	mil miles millón millones resto docena del porcentaje
	vezes mais menos dividido raiz quadrada metade dobro porcento cento milhão milhões dúzia
	volte più meno diviso radice metà doppio percento mila milione milioni dozzina
	keer gedeeld wortel helft procent duizend miljoen miljard
	плюс минус умножить умноженное разделить делить делённое на по корень квадрат половина половины половину треть четверть
	процент процента процентов десяток сотня сотен тысяча тысячи тысяч миллион миллиона миллионов миллиард миллиардов
	остаток остатке модуль модулю синус косинус логарифм дюжина
`)

// changingRuns are the same for scripts in which words run together.
var changingRuns = strings.Fields(`
	〇 零 一 二 三 四 五 六 七 八 九 十 百 千 万 萬 亿 億 兆 两 兩 几 半 倍 双 雙 对 對 打 成 折 割 分之 个百 個百
	加 减 減 乘 除 加上 减去 減去 乘以 除以 掛け かける 割る わる 足す たす 引く ひく プラス マイナス
	负 負 约 約 大约 大約 根号 根號 平方 立方 次方 方 的 之 余 餘 餘り あまり 余り 模 对数 對數 点 點 进制 進制 正弦 余弦 の ルート
	더하기 빼기 곱하기 나누기 제곱 루트 절반 반 배 십 백 천 만 억 조 퍼센트 프로 나머지 약 의
	บวก ลบ คูณ หาร ครึ่ง ร้อย พัน หมื่น แสน ล้าน เศษ
`)

// harmlessWords change nothing in the sentence of an equation.
var harmlessWords = wordSet(`
	a an the this that's it it's its is are was were be so thus hence therefore then now next first second finally also
	because since we you he she they i get gets got have has had need needs know compute computes calculate calculates
	gives give makes make equals means which total altogether overall together answer result cost costs price
	step equation and in all our their his her my
	das ist sind also daher somit ergibt donc ainsi est entonces es son так итак
	所以 因此 于是 那么 答案 答案是 总共 一共 共 总价 等于 是 得 则 よって したがって 答え 따라서 그래서
`)

// doubtfulWords in the sentence of an equation may mean that it is not claimed,
// not exact, or not of ordinary arithmetic.
var doubtfulWords = wordSet(`
	not no never isn't aren't wasn't don't doesn't didn't can't cannot couldn't wouldn't won't shouldn't wrong wrongly
	incorrect incorrectly false falsely mistake mistaken mistakenly error errors erroneous instead rather unlike versus vs
	if unless whether suppose supposing assume assuming imagine pretend would could might may maybe perhaps should or
	otherwise claim claims claimed say says said think thinks thought believe believes guess guessed student
	approx approximately about roughly around nearly almost round rounded rounding rounds estimate estimated estimates
	mod modulo modulus modular modulos remainder remainders base binary octal decimal hex hexadecimal xor clock noon
	midnight pm am o'clock oclock carry carries carried borrow digit digits
	plus minus times divided multiplied half twice double triple squared cubed percent
	nicht kein falsch fehler wenn falls etwa ungefähr rund uhr pas faux fausse erreur si environ heures
	falso falsa incorrecto aproximadamente unos sbagliato errato circa errado не неверно ошибка если около примерно
`)
