"""The classes of English words that the learned router counts in a prompt. Pure data."""

CLASSES: dict[str, str] = {
    "negations": "not no never none neither nor cannot except false incorrect least without unless n't wrong",
    "what": "what what's",
    "which": "which",
    "who": "who whom whose",
    "why": "why",
    "how": "how",
    "when or where": "when where",
    "articles": "a an the",
    "prepositions": "of in to for with on at from by about into through during between under over against upon within",
    "conjunctions": "and or but if because although while whereas whether than then so though since",
    "forms of 'to be'": "is are was were be been being am",
    "modal verbs": "can could may might must shall should will would",
    "he, she, they": "he she him her his hers they them their theirs",
    "I, we": "i me my mine we us our ours",
    "you": "you your yours",
    "it, this, that": "it its this that these those such",
    "following": "following below above statement statements",
    "superlatives": "most best greatest largest highest main primary first likely best-known smallest lowest",
    "amounts": "many much total each every per all both altogether more less fewer left remaining rest twice half "
    "double third quarter times another",
    "number words": "one two three four five six seven eight nine ten eleven twelve twenty thirty fifty hundred "
    "thousand million dozen first second",
    "money": "dollar dollars cent cents cost costs price paid pay pays buy buys bought sell sells sold money spend "
    "spent earn earns profit interest tax income rate market demand supply",
    "time": "day days week weeks month months year years hour hours minute minutes second seconds time age old",
    "units": "cm mm m km kg g lb lbs ft feet inch inches mile miles meter meters metre metres gallon gallons liter "
    "liters litre litres ounce ounces pound pounds mol mole moles ml l j kj w kw v volts volt amp ohm ohms hz mhz n pa "
    "kpa atm psi k c f degrees s percent mev ev",
    "tasks of calculation": "find calculate determine compute evaluate solve estimate simplify express prove let "
    "suppose given assume assuming approximately",
    "mathematics": "function functions graph integral derivative equation equations polynomial matrix vector vectors "
    "space group groups subgroup ring field fields prime integer integers real set sets finite infinite number numbers "
    "sum product divisible factor root roots triangle circle angle line plane area volume length radius perimeter "
    "probability random variable variables distribution continuous linear order abelian isomorphic homomorphism "
    "theorem proof theory permutation cyclic convergent bounded limit sequence series positive negative odd even",
    "statistics": "mean median variance deviation standard sample samples hypothesis regression correlation test "
    "significance estimate interval confidence error errors model data",
    "physics": "force mass velocity speed acceleration energy momentum electric magnetic current charge voltage "
    "circuit resistance wave wavelength frequency light pressure temperature heat gas particle electron electrons "
    "proton photon quantum gravity motion friction spring lens power",
    "chemistry": "reaction reactions acid base ph ion ions atom atoms molecule molecules compound solution "
    "concentration bond bonds oxidation hydrogen oxygen carbon nitrogen sodium chloride equilibrium enthalpy entropy "
    "molar element elements metal catalyst",
    "biology": "cell cells dna rna protein proteins gene genes species organism organisms evolution enzyme membrane "
    "population chromosome chromosomes genetic plant plants animal animals bacteria virus viral selection",
    "medicine": "patient patients blood disease symptoms treatment clinical muscle nerve artery heart cardiac brain "
    "bone pain drug drugs therapy cancer infection physical examination hospital woman man year-old history shows "
    "diagnosis acute chronic syndrome medication serum pressure",
    "law": "court plaintiff defendant law legal contract statute liable liability crime criminal evidence trial jury "
    "murder property tort owner landlord seller buyer lawsuit judge constitutional amendment rights convicted police "
    "attorney testimony admissible agreement negligence damages sue sued",
    "ethics": "moral wrong ethical ethics virtue duty justice rights kant utilitarianism good argue argues claims "
    "according argument premise conclusion fallacy valid",
    "logic": "statement true false implies proposition logic predicate symbols formula formulas premises "
    "consequences translations translation conditional",
    "history and politics": "war century government president political state states party congress constitution "
    "revolution empire king british american united economic policy treaty soviet world union democracy rights "
    "passage excerpt colonial nations international foreign",
    "business": "company companies marketing customers customer employees manager management firm business product "
    "products strategy organization brand consumer accounting audit financial cash stock bond bonds asset assets "
    "capital investment shares auditor statements",
    "psychology": "behavior child children learning memory cognitive social attitude anxiety emotion emotional "
    "self perception therapist client psychologist personality research attachment intelligence stimulus response",
    "computing": "algorithm program code data computer memory network software process processor cache bits byte "
    "bytes server encryption key security protocol attack machine input output stack binary search tree java "
    "instruction address",
    "writing code": "python def return returns int str list array string class import print function write dict "
    "tuple elements none",
    "machine learning": "training model models neural network classifier learning gradient kernel feature overfitting "
    "decision bayes bias layer",
    "religion and thought": "god religion religious jesus church buddha buddhist hindu islam muslim jewish bible "
    "confucius philosophy soul divine",
    "people and places": "city country africa asia europe china japan india america england france germany",
    "creative tasks": "write story poem essay email letter imagine describe explain summarize rewrite draft blog "
    "compose outline create generate suggest act pretend",
}


def by_word() -> dict[bytes, tuple[int, ...]]:
    """Word -> the positions of its classes in `CLASSES`."""
    found: dict[bytes, tuple[int, ...]] = {}
    for position, words in enumerate(CLASSES.values()):
        for word in words.split():
            found[word.encode()] = (*found.get(word.encode(), ()), position)
    return found
