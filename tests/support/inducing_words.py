"""Words that push people into a loan; no text of ours may contain one (金融产品网络营销管理办法, 2026-09-30)."""

INDUCING = (
    "低门槛",
    "秒到账",
    "秒批",
    "秒下款",
    "零风险",
    "无风险",
    "必下款",
    "包过",
    "包下款",
    "百分百通过",
    "100%通过",
    "免审核",
    "无需征信",
    "不看征信",
    "黑户",
    "人人可贷",
    "随借随还",
    "限时",
    "最后机会",
    "错过",
    "内部渠道",
    "超低利率",
    "零利息",
    "guaranteed approval",
    "guaranteed loan",
    "instant cash",
    "instant approval",
    "no credit check",
    "risk-free",
    "risk free",
    "everyone qualifies",
    "last chance",
    "hurry",
    "act now",
    "limited time",
    "don't miss",
    "easy money",
)


def found(text: str) -> list[str]:
    """Those of the words that stand in the text."""
    lowered = text.lower()
    return [word for word in INDUCING if word in lowered]
